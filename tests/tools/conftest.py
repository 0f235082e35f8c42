"""Fixtures of the tests of tools."""

from tests.command_runs import run

__all__ = ['run']
