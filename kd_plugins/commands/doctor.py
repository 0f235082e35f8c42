"""Print what is installed, what each extra lacks and the one command that fixes it.

Runs on a bare Python: ``python tools/doctor.py``. Exits with 1 where something that is needed or installed is broken.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def load_doctor() -> ModuleType:
    """Load ``kd_plugins/doctor.py`` by its path, since importing the package needs what may be missing."""
    here = Path(__file__).resolve()
    candidates = (here.parents[1] / 'kd_plugins' / 'doctor.py', here.parents[2] / 'doctor.py')
    path = next(path for path in candidates if path.exists())
    spec = importlib.util.spec_from_file_location('kd_plugins_doctor', path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def print_table(rows: list[tuple[str, str, str, str]]) -> None:
    """Print rows of group, part, version and state."""
    head = ('for', 'part', 'version', 'state')
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(3)]
        for row in [head, *rows]:
            print('  '.join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]))
        return
    table: Any = Table(*head)
    for row in rows:
        colour = 'green' if row[3] == 'ok' else 'yellow' if row[3] == 'missing' else 'red'
        table.add_row(*map(escape, row[:3]), f'[{colour}]{escape(row[3])}[/]')
    Console().print(table)


def main() -> int:
    """Print the diagnosis; return the exit status."""
    doctor = load_doctor()
    diagnosis = doctor.diagnose()
    rows = []
    for finding in diagnosis.findings:
        state = f'{finding.state}: {finding.detail}' if finding.detail else finding.state
        rows.append((finding.part.group, finding.part.module, finding.version or '-', state))
    print_table(rows)
    print(f'Python {platform.python_version()} at {sys.executable}; OpenMMLab stack: {diagnosis.stack}')
    root = doctor.checkout()
    for group in dict.fromkeys(finding.part.group for finding in diagnosis.findings):
        lacking = diagnosis.lacking(group)
        if not lacking:
            continue
        name = 'What is required' if group == doctor.CORE else f"The extra '{group}'"
        names = ', '.join(finding.part.module for finding in lacking)
        print(f'{name} lacks {names}; fix: {doctor.fix_command(lacking, diagnosis.stack, root)}')
    for sentence, command in diagnosis.problems:
        print(f'Broken: {sentence}; fix: {command}')
    print('Something is broken.' if diagnosis.exit_status else 'Nothing that is installed is broken.')
    return int(diagnosis.exit_status)


if __name__ == '__main__':
    sys.exit(main())
