"""Calibration of the arms: which runs are tested again, and the picture of all seeds."""

from __future__ import annotations

import json
from pathlib import Path

from kd_plugins.comparison.calibration import lacks_test, write_reliability
from kd_plugins.comparison.folder import is_in_folder, metrics_of_test
from kd_plugins.comparison.plan import Arm, Run


def write_test(folder: Path, **metrics: float) -> None:
    path = folder / 'test' / '20260101_000000' / '20260101_000000.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(metrics))


def test_a_test_without_calibration_is_repeated(tmp_path: Path) -> None:
    assert lacks_test(tmp_path, False)
    write_test(tmp_path, AP=0.5)
    assert not lacks_test(tmp_path, False) and lacks_test(tmp_path, True)
    write_test(tmp_path / 'other', **{'AP': 0.5, 'calibration/error': 0.1})
    assert not lacks_test(tmp_path / 'other', True)


def test_a_test_that_found_nothing_counts_as_no_number(tmp_path: Path) -> None:
    """A detector that collapsed must not be left out, nor be tested for ever."""
    scalars = tmp_path / '20260101_000000' / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True)
    scalars.write_text('{"AP": 0.5, "step": 2}\n')
    write_test(tmp_path, time=0.1, data_time=0.1)
    assert not lacks_test(tmp_path, False) and lacks_test(tmp_path, True)
    run = Run(Arm('plain', 'plain.py', 2), 0, tmp_path, 'finished')
    assert is_in_folder(run, True) and str(metrics_of_test(tmp_path)) == "{'AP': nan}"


def test_the_picture_holds_all_seeds_of_the_arms(tmp_path: Path) -> None:
    folders = {arm: {seed: tmp_path / arm / f'seed_{seed}' for seed in (0, 1)} for arm in ('plain', 'new')}
    assert not write_reliability(folders, tmp_path / 'r.png') and not (tmp_path / 'r.png').exists()
    path = folders['new'][1] / 'test' / 'calibration.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({'bins': [[2, 1.0, 1.0]]}))
    assert write_reliability(folders, tmp_path / 'r.png') and (tmp_path / 'r.png').is_file()
