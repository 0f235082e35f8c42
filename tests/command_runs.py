"""Fixture that runs the ``main`` of a command or of a tool as the command line does."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest


class Outcome(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error that begins with ``error``."""
        (line,) = [line for line in self.err.splitlines() if line.startswith('error')]
        return line


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that calls ``module.main`` with arguments and returns an :class:`Outcome`."""
    monkeypatch.delenv('KD_DEBUG', raising=False)

    def call(module: ModuleType, *arguments: Any) -> Outcome:
        capsys.readouterr()
        try:
            status = module.main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        return Outcome(status, *capsys.readouterr())

    return call
