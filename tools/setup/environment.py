"""A virtual environment, inspected and changed from outside it, with the standard library alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
HEARTBEAT = 30.0
Status: TypeAlias = Callable[[float], str]
"""Returns how far a command is, from the seconds since its start."""


class InstallError(Exception):
    """Something a person has to know or to do, in one sentence."""


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def last_line(text: str) -> str:
    """Return the last line of a traceback."""
    return text.strip().rpartition('\n')[2]


def elapsed(seconds: float) -> str:
    """Return a sign of life.

    >>> elapsed(30.2)
    'still at it after 30 s'
    """
    return f'still at it after {seconds:.0f} s'


def wait(process: subprocess.Popen[bytes], status: Status) -> None:
    """Wait for a process and show how far it is: one line that changes on a terminal, a line per half minute elsewhere.

    Args:
        process: A running process.
        status: Returns the line, from the seconds since the start.
    """
    terminal = sys.stdout.isatty()
    start = shown = time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        now = time.monotonic()
        if now - shown < (1.0 if terminal else HEARTBEAT):
            continue
        shown = now
        text = f'  {status(now - start)}'
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f'\r{text[:width]}\x1b[K', end='', flush=True)
        else:
            say(text)
    if terminal and shown > start:
        print('\r\x1b[K', end='', flush=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session of its own, with all compilers that it started."""
    if os.name == 'posix':
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()
    process.wait()


class Environment:
    """A virtual environment and what it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.python = path / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
        self.stamp = path / '.kd_plugins.json'
        self.constraints = path / '.kd_plugins-constraints.txt'
        self.log = path / '.kd_plugins-install.log'

    def create(self) -> None:
        """Make the environment where there is none."""
        if self.python.exists():
            return
        say(f'creating {self.path}')
        made = subprocess.run([sys.executable, '-m', 'venv', str(self.path)], capture_output=True, text=True)
        if made.returncode:
            shutil.rmtree(self.path, ignore_errors=True)
            raise InstallError(
                '`python3 -m venv` failed; on Debian and Ubuntu `apt install python3-venv` provides it. Python says: '
                + (made.stderr or made.stdout).strip().replace('\n', ' ')[-300:]
            )

    def run(self, code: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Run Python code in the environment, away from the checkout."""
        command = [str(self.python), '-c', code, *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.path)

    def versions(self) -> dict[str, str]:
        """Return the version of every installed distribution, by normalised name."""
        code = (
            'import json, re\nfrom importlib.metadata import distributions\n'
            "named = ((d.metadata['Name'], d.version) for d in distributions())\n"
            "print(json.dumps({re.sub('[-_.]+', '-', name).lower(): version for name, version in named if name}))"
        )
        found: dict[str, str] = json.loads(self.run(code).stdout or '{}')
        return found

    def torch_version(self) -> tuple[int, int]:
        """Return major and minor version of the installed torch."""
        major, minor = self.versions()['torch'].split('.')[:2]
        return int(major), int(minor)

    def contents(self) -> list[str]:
        """Return what is installed, cheaply: the names of the metadata folders."""
        layouts = ('lib/python*/site-packages', 'Lib/site-packages')
        return sorted(folder.name for layout in layouts for folder in self.path.glob(f'{layout}/*.dist-info'))

    def missing(self, requirements: Sequence[str]) -> list[str]:
        """Return those requirements that do not hold."""
        code = (
            'import json, sys\nfrom importlib.metadata import PackageNotFoundError, version\n'
            'from pip._vendor.packaging.requirements import Requirement\n'
            'def holds(text):\n'
            '    wanted = Requirement(text)\n'
            '    try:\n'
            '        return wanted.specifier.contains(version(wanted.name), prereleases=True)\n'
            '    except PackageNotFoundError:\n'
            '        return False\n'
            'print(json.dumps([text for text in sys.argv[1:] if not holds(text)]))'
        )
        answer = self.run(code, *requirements)
        if answer.returncode:
            raise InstallError(f'{self.python} has no working pip; delete {self.path} and run `make install` again.')
        lacking: list[str] = json.loads(answer.stdout)
        return lacking

    def pip(self, *args: str, environ: Mapping[str, str] | None = None, status: Status = elapsed) -> bool:
        """Run a command of pip and return whether it succeeded; the output goes to the log.

        Args:
            args: The command and its arguments, such as ``'install', 'numpy'``.
            environ: Environment variables in addition to those of this process.
            status: The line that is shown meanwhile, from the seconds since the start.
        """
        command = [str(self.python), '-m', 'pip', *args, '--disable-pip-version-check']
        if self.constraints.exists():
            command += ['--constraint', str(self.constraints)]
        # Ninja lies in the environment's folder of programs.
        path = os.pathsep.join([str(self.python.parent), os.environ.get('PATH', '')])
        with self.log.open('w', encoding='utf-8') as log:
            log.write(' '.join(command) + '\n')
            log.flush()
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environ or {}), 'PATH': path},
                cwd=ROOT,
                start_new_session=True,
            )
            try:
                wait(process, status)
            finally:
                if process.poll() is None:
                    stop(process)
        return process.returncode == 0

    def tail(self, lines: int = 25) -> str:
        """Return the end of pip's output."""
        return '\n'.join(self.log.read_text(encoding='utf-8', errors='replace').splitlines()[-lines:])
