"""Tables in a terminal, in a file and in Markdown."""

from __future__ import annotations

import io
import sys

import pytest

from kd_plugins.utils.tables import markdown_table, plain_table, print_table

HEADERS, ROWS = ('metric', 'plain'), [('AP', '0.5 ± 0.1'), ('a|b', '-')]


def test_columns_are_aligned() -> None:
    assert plain_table(HEADERS, ROWS).splitlines() == ['metric  plain', 'AP      0.5 ± 0.1', 'a|b     -']
    assert plain_table(HEADERS, []) == 'metric  plain'


def test_markdown_escapes_its_separator() -> None:
    assert markdown_table(HEADERS, ROWS).splitlines() == [
        '| metric | plain |',
        '|---|---:|',
        '| AP | 0.5 ± 0.1 |',
        '| a\\|b | - |',
    ]


def test_a_file_gets_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table('Results', HEADERS, ROWS)
    assert capsys.readouterr().out == f'\nResults\n{plain_table(HEADERS, ROWS)}\n'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_every_cell_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('rich')
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stdout', terminal)
    print_table('Results', HEADERS, [('[bold]', '[/bold]')])
    assert all(word in terminal.getvalue() for word in ('Results', 'metric', '[bold]', '[/bold]'))


def test_a_terminal_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stdout', terminal)
    monkeypatch.setitem(sys.modules, 'rich', None)
    print_table('Results', HEADERS, ROWS)
    assert plain_table(HEADERS, ROWS) in terminal.getvalue()
