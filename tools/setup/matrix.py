"""Run the core tests with every declared torch and with both stacks: ``make matrix``.

Each column has an environment of its own in ``.matrix/``, which stays there. A column that has passed with the same
packages and the same files is not run again. The results are written into docs/compatibility.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.setup.environment import Environment, InstallError, say, stop, wait
from tools.setup.install import TORCH, Step, carry_out, install

FOLDER = ROOT / '.matrix'
PAGE = ROOT / 'docs' / 'compatibility.md'
BEGIN, END = '<!-- matrix:begin (make matrix) -->', '<!-- matrix:end -->'
CORE = (
    *(f'tests/test_{name}.py' for name in ('adapters', 'checkpoints', 'compat', 'schedules', 'structures', 'taps')),
    *(f'tests/{name}' for name in ('config', 'distillers', 'hooks', 'losses', 'ops', 'runner', 'teachers', 'utils')),
    'tests/commands/test_train.py',
    *(f'tests/integration/test_{name}.py' for name in ('bad_input', 'invariants', 'runner_modes')),
    'tests/integration/test_recomputed_students.py',
)
"""Tests of everything that depends on the version of a package: one process, no GPU, detection alone."""
SOURCES = ('kd_plugins', 'tests', 'configs', 'pyproject.toml')
SHOWN = {
    'torch': ('torch',),
    'numpy': ('numpy',),
    'MMEngine': ('mmengine', 'onedl-mmengine'),
    'MMCV': ('mmcv', 'onedl-mmcv'),
    'MMDetection': ('mmdet', 'onedl-mmdetection'),
}
"""Package of the table to its distributions."""


@dataclass(frozen=True)
class Column:
    """One environment: its folder, its stack, and its torch, ``''`` for the one that ``make install`` takes."""

    name: str
    stack: str
    torch: str = ''


# The lowest, the last before and the first whose safe loader can be told MMEngine's types, the default, the newest.
VERSIONS = ('2.1.0', '2.5.1', '2.6.0', '', '2.14.1')
COLUMNS = (
    *(
        Column(f'torch-{version or TORCH.partition("==")[2]}', 'upstream', f'torch=={version}' if version else '')
        for version in VERSIONS
    ),
    Column(f'onedl-torch-{TORCH.partition("==")[2]}', 'onedl'),
)


def prepare(column: Column) -> Environment:
    """Make the environment of a column, or complete it.

    Raises:
        InstallError: If a package cannot be installed.
    """
    env = Environment(FOLDER / column.name)
    os.environ.pop('KD_TORCH', None)
    if column.torch:
        os.environ['KD_TORCH'] = column.torch
    install(env, column.stack, ())
    carry_out(env, Step('pytest', ('pytest>=8',)))
    return env


def digest() -> str:
    """Return a hash of every file that a result depends on."""
    found = hashlib.sha256()
    for source in SOURCES:
        paths = sorted((ROOT / source).rglob('*.py')) if (ROOT / source).is_dir() else [ROOT / source]
        for path in paths:
            found.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return found.hexdigest()[:20]


def versions(env: Environment) -> dict[str, str]:
    """Return Python's version and those of :data:`SHOWN`."""
    installed = env.versions()
    python = env.run('import platform; print(platform.python_version())').stdout.strip()
    shown = {
        package: next((f'{name} {installed[name]}' for name in names if name in installed), 'none')
        for package, names in SHOWN.items()
    }
    return {'Python': python, **{package: text.removeprefix(f'{package.lower()} ') for package, text in shown.items()}}


def counts(text: str) -> dict[str, int]:
    """Return the numbers in the last line of pytest's output.

    >>> counts('1 failed, 20 passed, 3 skipped, 2 errors in 9.75s')
    {'passed': 20, 'failed': 3, 'skipped': 3}
    """
    last = next((line for line in reversed(text.splitlines()) if re.search(r' in \d+\.\d+s', line)), '')
    numbers = {word.removesuffix('s'): int(number) for number, word in re.findall(r'(\d+) ([a-z]+)', last)}
    failed = numbers.get('failed', 0) + numbers.get('error', 0)
    return {'passed': numbers.get('passed', 0), 'failed': failed, 'skipped': numbers.get('skipped', 0)}


def run_tests(env: Environment) -> dict[str, Any]:
    """Run the core tests; the output goes to a file next to the environment."""
    log = env.path.parent / f'{env.path.name}.log'
    command = [str(env.python), '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-m', 'not distributed and not cuda']
    environ = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    start = time.monotonic()
    with log.open('w', encoding='utf-8') as file:
        process = subprocess.Popen(
            [*command, *CORE], stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=environ, start_new_session=True
        )
        try:
            wait(process, lambda seconds: f'testing for {seconds:.0f} s, output in {log.relative_to(ROOT)}')
        finally:
            if process.poll() is None:
                stop(process)
    result = counts(log.read_text(encoding='utf-8', errors='replace'))
    # Pytest's own errors, such as a crash of the interpreter, leave no numbers.
    result['failed'] = result['failed'] or int(process.returncode != 0)
    return {**result, 'seconds': round(time.monotonic() - start)}


def measure(column: Column, again: bool) -> dict[str, Any]:
    """Return the result of a column, from an earlier run where nothing has changed since."""
    record = FOLDER / f'{column.name}.json'
    old = json.loads(record.read_text(encoding='utf-8')) if record.is_file() else {}
    say(f'{column.name}:')
    try:
        env = prepare(column)
    except InstallError as error:
        result: dict[str, Any] = {'reason': reason_of(str(error)), 'Python': sys.version.split()[0]}
        print(error, file=sys.stderr)
    else:
        result = {**versions(env), 'sources': digest()}
        if not again and not old.get('failed', 1) and result.items() <= old.items():
            say('  passed before, with the same packages and files')
            return dict(old)
        result.update(run_tests(env))
        say(f'  {result["passed"]} passed, {result["failed"]} failed, {result["skipped"]} skipped')
    result['date'] = date.today().isoformat()
    FOLDER.mkdir(exist_ok=True)
    record.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    return result


def reason_of(text: str) -> str:
    """Return the line of pip's or the compiler's output that tells why an installation failed.

    >>> reason_of('pip says:\\n  ERROR: No matching distribution found for torch==1.0\\n  bye')
    'ERROR: No matching distribution found for torch==1.0'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if 'error' in line.lower()), lines[0])


def table() -> Iterator[str]:
    """Return the lines of the table, from the recorded results."""
    head = ('date', 'Python', *SHOWN, 'passed', 'failed', 'skipped', 'seconds')
    yield f'| {" | ".join(head)} |'
    yield f'|{"---|" * (len(head) - 4)}{"---:|" * 4}'
    for column in COLUMNS:
        record = FOLDER / f'{column.name}.json'
        if not record.is_file():
            continue
        result = json.loads(record.read_text(encoding='utf-8'))
        if 'reason' in result:
            result = {'torch': f'{column.name}: {result["reason"]}', **result}
        yield f'| {" | ".join(str(result.get(name, "")) for name in head)} |'


def updated(page: str) -> str:
    """Return a page with its table renewed.

    Args:
        page: Markdown with the two marks :data:`BEGIN` and :data:`END`, one line each.
    """
    before, _, rest = page.partition(BEGIN + '\n')
    lines = '\n'.join(table())
    return f'{before}{BEGIN}\n{lines}\n{END}{rest.partition(END)[2]}'


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; return 1 if a test has failed or an environment could not be made."""
    names = [column.name for column in COLUMNS]
    parser = argparse.ArgumentParser(description='Run the core tests with every declared torch and both stacks.')
    parser.add_argument('columns', nargs='*', metavar='COLUMN', help=f'any of: {" ".join(names)}; all by default')
    parser.add_argument('--again', action='store_true', help='also run columns that have passed')
    args = parser.parse_args(argv)
    unknown = [name for name in args.columns if name not in names]
    if unknown:
        parser.error(f"there is no column '{unknown[0]}'; valid: {', '.join(names)}")
    good = True
    for column in COLUMNS:
        if not args.columns or column.name in args.columns:
            result = measure(column, args.again)
            good = good and not result.get('failed', 1)
            PAGE.write_text(updated(PAGE.read_text(encoding='utf-8')), encoding='utf-8')
    return int(not good)


if __name__ == '__main__':
    sys.exit(main())
