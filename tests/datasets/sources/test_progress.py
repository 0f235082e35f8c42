"""Lines of a download where there is no terminal, and the bar where there is one."""

from __future__ import annotations

import sys

import pytest

from kd_plugins.datasets.sources.progress import line_printer, show_progress


def test_lines_without_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    show = line_printer('bccd')
    for done in (0, 5_000_000, 12_000_000, 12_500_000, 31_000_000):
        show(done, None)
    assert capsys.readouterr().out.splitlines() == ['bccd: 0.0 MB', 'bccd: 12.0 MB', 'bccd: 31.0 MB']


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('rich')
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True)
    with show_progress('bccd') as show:
        show(0, None)
        show(500_000, 2_000_000)
    assert 'bccd' in capsys.readouterr().out
