"""The table that compares RT-DETR with transformers."""

from __future__ import annotations

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('transformers')

from tools.analysis.dfine_parity import multiply_adds
from tools.analysis.rtdetr_parity import main
from tools.analysis.rtdetr_twins import ours

# GFLOPs that the papers print are twice these, with norms and more; lyuwenyu/RT-DETR, README.
PRINTED = {'r18vd': 60, 'r50vd_m': 100}


@pytest.mark.parametrize('size', list(PRINTED))
def test_multiply_adds_are_about_those_of_the_paper(size: str) -> None:
    assert 2 * multiply_adds(size, build=ours) / 1e9 == pytest.approx(PRINTED[size], rel=0.04)


@pytest.mark.slow
def test_prints_one_row_for_each_size_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--sizes', 'r18vd', '--versions', '1', '2', '--height', '96', '--width', '160']) == 0
    printed = capsys.readouterr().out
    assert printed.count('20,184,464') == 2 and 'v2 r18vd' in printed
