"""``kd_plugins data lidar-scenes``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from kd_plugins.commands import make_lidar_scenes


def test_a_small_data_set_twice(run: Any, tmp_path: Path) -> None:
    options = ('--num-train', 2, '--num-val', 1, '--seed', 3)
    first = run(make_lidar_scenes, tmp_path, *options)
    assert first.status == 0 and first.out.count('made in') == 2, first.err
    infos = json.loads((tmp_path / 'train.json').read_text())
    assert len(infos['data_list']) == 2
    cloud = np.fromfile(next((tmp_path / 'val').glob('*.bin')), np.float32).reshape(-1, 4)
    assert len(cloud) > 1000 and np.isfinite(cloud).all()
    assert run(make_lidar_scenes, tmp_path, *options).out.count('already there') == 2


def test_a_negative_number_is_one_sentence(run: Any, tmp_path: Path) -> None:
    outcome = run(make_lidar_scenes, tmp_path, '--num-train', -1)
    assert outcome.status == 2
    assert "argument --num-train: '-1' is no whole number from 1" in outcome.err
