"""Tables for the terminal and for Markdown documents."""

from __future__ import annotations

import sys
from collections.abc import Sequence

Rows = Sequence[Sequence[str]]


def plain_table(headers: Sequence[str], rows: Rows) -> str:
    """Return a table of aligned columns, two spaces apart.

    >>> print(plain_table(['a', 'value'], [['x', '1'], ['long', '2']]))
    a     value
    x     1
    long  2
    """
    lines = [list(headers), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def markdown_table(headers: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table, with all columns but the first aligned to the right.

    >>> print(markdown_table(['metric', 'AP'], [['all', '0.5']]))
    | metric | AP |
    |---|---:|
    | all | 0.5 |
    """
    lines = [headers, *rows]
    body = ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |' for line in lines]
    rule = '|---|' + '---:|' * (len(headers) - 1)
    return '\n'.join([body[0], rule, *body[1:]])


def print_table(title: str, headers: Sequence[str], rows: Rows) -> None:
    """Print a table, with rich if it is installed and stdout is a terminal, in plain columns otherwise."""
    if sys.stdout.isatty():
        try:
            from rich import box
            from rich.console import Console
            from rich.markup import escape
            from rich.table import Table
        except ImportError:
            pass
        else:
            table = Table(title=title, title_justify='left', box=box.SIMPLE)
            for header in headers:
                table.add_column(escape(header), overflow='fold')
            for row in rows:
                table.add_row(*[escape(cell) for cell in row])
            Console().print(table)
            return
    print(f'\n{title}\n{plain_table(headers, rows)}')
