"""Subcommands of ``kd_plugins`` in processes of their own that need not import PyTorch and MMDetection first.

A new interpreter takes five seconds for that, and a toy training half a second. The processes are forked from the
server of ``tests/ranks.py``. What a new interpreter does is tested in ``tests/commands/test_train.py``.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kd_plugins.errors import KDPluginsError
from tests.ranks import warm_method


def _run(words: Sequence[str], environment: dict[str, str], log: str, group: bool) -> None:
    from kd_plugins.commands import dispatch
    from kd_plugins.stages import chain
    from kd_plugins.testing.config_text import leave_texts_as_they_are

    if group:
        os.setsid()
    # A server of forks has the variables of its own start.
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get('PYTHONPATH', '').split(os.pathsep)
    torch.set_num_threads(1)
    _write_to(log)
    chain.execute = _fork  # type: ignore[assignment]
    leave_texts_as_they_are()
    sys.argv[:] = ['kd_plugins', *words]
    sys.exit(dispatch.main(list(words)))


def _write_to(log: str | Path) -> None:
    with open(log, 'a', encoding='utf-8') as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _fork(command: Sequence[str], log: Path, *_: Any, **__: Any) -> None:
    """Execute a command of a chain in a fork of the chain's own process."""
    from kd_plugins.commands import dispatch

    log.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if not child:
        status = 1
        try:
            _write_to(log)
            status = dispatch.main(list(command[3:]))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _check(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), log)


def _check(status: int, log: Path) -> None:
    if status:
        raise KDPluginsError(f"'{log}' ended with status {status}: {log.read_text()[-2000:]}")


def call(words: Sequence[str], log: Path, group: bool = False, **variables: str) -> int:
    """Run a subcommand and return the status of its process, negative where a signal ended it.

    Args:
        words: The subcommand and its arguments.
        log: File to which its output is appended.
        group: Whether it gets a process group of its own.
        variables: Further variables of its environment.
    """
    context: Any = multiprocessing.get_context(warm_method())
    log.parent.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=_run, args=(list(words), {**os.environ, **variables}, str(log), group))
    process.start()
    process.join()
    return int(process.exitcode)


def execute(command: Sequence[str], log: Path, *_: Any, **__: Any) -> None:
    """Stand in for :func:`kd_plugins.runner.processes.execute` where the command is one of ``kd_plugins``.

    Raises:
        KDPluginsError: If the command fails.
    """
    _check(call(command[3:], log), log)
