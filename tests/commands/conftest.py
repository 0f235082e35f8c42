"""Fixtures of the tests of subcommands."""

from tests.command_runs import run

__all__ = ['run']
