"""What ``kd_plugins mixing-weight`` refuses before it reads data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_plugins.commands import mixing_weight

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def test_detectors_are_refused(run: Any) -> None:
    pytest.importorskip('mmdet')
    status, _, err = run(mixing_weight, CONFIGS / 'gfl' / 'gfl_r18_bccd.py', 'a.pth', 'b.pth')
    assert status == 2 and "default_scope is 'mmdet', whose predictions are no probabilities on a common grid" in err


@pytest.mark.parametrize(
    ('value', 'text'),
    [(float('nan'), 'not defined'), (-0.2, 'the teacher alone'), (0.35, 'task_weight=0.35, and 0.65')],
)
def test_the_sentence(value: float, text: str) -> None:
    assert text in mixing_weight.sentence(value)
