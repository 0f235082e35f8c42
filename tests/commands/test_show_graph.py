"""``kd_plugins show graph`` on small random detectors, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('matplotlib')
import cv2

from kd_plugins.commands import show_graph
from tests.visualization.trained import CONFIGS, save_model

FOLDER = CONFIGS / 'local_graph'
SELF = FOLDER / 'gfl_r18_bccd_ema-local.py'
KITTI = CONFIGS.parents[1] / 'shared' / 'data' / 'kitti'


def test_a_picture_of_the_wider_teacher(run: Any, tmp_path: Path, detectors: dict[str, Path]) -> None:
    out = tmp_path / 'new' / 'picture.png'
    config = FOLDER / 'gfl_r34-r18_bccd_local.py'
    done = run(show_graph, config, detectors['gfl_r34_bccd'], detectors['image'], '--out', out, '--level', 1, 2)
    assert done.status == 0, done.err
    assert str(out) in done.out and cv2.imread(str(out)).std() > 0


@pytest.mark.parametrize(
    ('config', 'arguments', 'sentence'),
    [
        (SELF, ['--level', '5'], '--level: 5 does not exist; valid: 0 to 4'),
        (SELF, ['--top', '0'], '--top: the neighbours of 0 points cannot be drawn; nearest: 1'),
        (SELF, ['--out', 'picture.pgn'], "--out: 'picture.pgn' does not end in a known format; nearest: 'png'"),
        (
            SELF,
            ['--distiller', 'grap'],
            "--distiller: the config has no LocalGraphDistiller named 'grap'; nearest",
        ),
        (
            FOLDER / 'gfl_r18-r18w32_bccd_feat.py',
            [],
            "default_hooks.distill.distillers has no 'kd_plugins.LocalGraphDistiller'",
        ),
        (FOLDER / 'gfl_r34-r18_bccd_local.py', [], 'checkpoint'),
    ],
)
def test_refusals(run: Any, detectors: dict[str, Path], config: Path, arguments: list[str], sentence: str) -> None:
    done = run(show_graph, config, detectors['gfl_r18_bccd'], detectors['image'], *arguments)
    assert done.status == 2 and sentence in done.error


def test_several_distillers_need_a_name(run: Any, detectors: dict[str, Path]) -> None:
    more = ['--cfg-options', 'default_hooks.distill.distillers.more.type=kd_plugins.LocalGraphDistiller']
    done = run(show_graph, SELF, detectors['gfl_r18_bccd'], detectors['image'], *more)
    assert done.status == 2
    assert "--distiller: the config has several; valid: 'graph', 'more'" in done.error


@pytest.mark.skipif(not KITTI.is_dir(), reason='needs ../shared/data/kitti')
def test_a_frame_seen_from_above(run: Any, monkeypatch: Any, tmp_path: Path) -> None:
    pytest.importorskip('mmdet3d')
    monkeypatch.setenv('KITTI_ROOT', str(KITTI))
    config = FOLDER / 'pointpillars_x4_kitti-mini_local.py'
    save_model(FOLDER / 'pointpillars_kitti-mini.py', tmp_path / 'model.pth', 'mmdet3d')
    out = tmp_path / 'frame.png'
    done = run(show_graph, config, tmp_path / 'model.pth', '000001.bin', '--out', out)
    assert done.status == 0, done.err
    assert str(out) in done.out and cv2.imread(str(out)).std() > 0
    done = run(show_graph, config, tmp_path / 'model.pth', '000009.bin', '--out', out)
    assert done.status == 2
    assert "'000009.bin' is not a frame of test_dataloader.dataset; nearest: '00000" in done.error
