"""The comparison of averages while D-FINE learns new classes: a training of two steps, measured three times."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip('mmdet')

comparison = import_module('tools.benchmark.fine_tuning_average')


@pytest.mark.slow
@pytest.mark.skipif(not Path(os.environ.get('BCCD_ROOT', 'none')).is_dir(), reason='needs BCCD')
def test_the_trained_weights_and_both_averages_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ['--images', '4', '--epochs', '1', '--batch', '2', '--size', '160', '--work-dir', str(tmp_path / 'run')]
    assert comparison.main(arguments) in (0, 1)  # after two steps, an AP of 0 is no fault
    rows = json.loads((tmp_path / 'run' / 'averages.json').read_text())
    assert [row['weights'] for row in rows] == ['trained', 'released', 'fitted'] and rows[0]['epoch'] == 1
    printed = capsys.readouterr().out
    assert 'anew: bbox_head.cls_branches.0.weight' in printed and 'released: 0.0001 = -ln' in printed
