"""The table that compares D-FINE with transformers."""

from __future__ import annotations

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('transformers')

from tools.analysis.dfine_parity import main, multiply_adds

# Multiply-adds of the released models after their own fusion, in units of 1e9; the papers print twice these.
RELEASED = {'n': 3.66, 's': 12.75, 'm': 28.52, 'l': 45.80, 'x': 101.5}


@pytest.mark.parametrize('size', list(RELEASED))
def test_multiply_adds_are_those_of_the_release(size: str) -> None:
    assert multiply_adds(size) / 1e9 == pytest.approx(RELEASED[size], rel=0.01)


@pytest.mark.slow
def test_prints_one_row_for_each_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--sizes', 'n', '--height', '192', '--width', '320']) == 0
    printed = capsys.readouterr().out
    assert '3,782,693' in printed and 'transformers 5' in printed
