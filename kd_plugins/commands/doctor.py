"""Print what is installed, what each extra lacks and the one command that fixes it: ``kd_plugins doctor``.

Exits with 1 if a required part is missing or an installed one is broken. This module imports the standard library and
:mod:`kd_plugins.diagnostics.doctor` only, so that it runs where PyTorch or MMEngine cannot be imported.
"""

from __future__ import annotations

import platform
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from ..diagnostics import doctor


def parser() -> ArgumentParser:
    """Return the parser."""
    return ArgumentParser(
        prog='kd_plugins doctor', description='Show what is installed, what is missing and the command that fixes it'
    )


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the diagnosis; return the exit status."""
    parser().parse_args(arguments)
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
        name = 'The package itself' if group == doctor.CORE else f"The extra '{group}'"
        names = ', '.join(finding.part.module for finding in lacking)
        print(f'{name} lacks {names}; fix: {doctor.fix_command(lacking, diagnosis.stack, root)}')
    for sentence, command in diagnosis.problems:
        print(f'Broken: {sentence}; fix: {command}')
    print('Something is broken.' if diagnosis.exit_status else 'Nothing that is installed is broken.')
    return diagnosis.exit_status
