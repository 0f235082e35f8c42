"""tools/analysis/show_graph.py on small random detectors, and what it refuses."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('matplotlib')
import cv2
from mmengine.registry import MODELS, init_default_scope

from kd_plugins.config.loading import load_config

ROOT = Path(__file__).resolve().parents[2]
tool = import_module('kd_plugins.commands.show_graph')
FOLDER = ROOT / 'configs' / 'local_graph'
SELF = FOLDER / 'gfl_r18_bccd_ema-local.py'


@pytest.fixture(scope='module')
def files(tmp_path_factory: Any) -> dict[str, Path]:
    """Return a checkpoint of the small and of the wide detector, and an image that the pipeline shrinks."""
    folder = tmp_path_factory.mktemp('show')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    for name in ('gfl_r18_bccd', 'gfl_r34_bccd'):
        model = MODELS.build(load_config(str(ROOT / 'configs' / 'gfl' / f'{name}.py')).model)
        torch.save({'state_dict': model.state_dict(), 'meta': {}}, folder / f'{name}.pth')
    image = np.random.default_rng(0).integers(0, 255, (300, 410, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / 'image.png'), image)
    return {path.stem: path for path in folder.iterdir()}


def show(capsys: Any, monkeypatch: Any, *arguments: Any) -> tuple[int, str, str]:
    monkeypatch.delenv('KD_DEBUG', raising=False)
    monkeypatch.setattr(sys, 'argv', ['show_graph', *map(str, arguments)])
    status = 0
    try:
        tool.main()
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    found = capsys.readouterr()
    return status, found.out, found.err


def test_a_picture_of_the_wider_teacher(capsys: Any, monkeypatch: Any, tmp_path: Path, files: dict[str, Path]) -> None:
    out = tmp_path / 'new' / 'picture.png'
    config = FOLDER / 'gfl_r34-r18_bccd_local.py'
    status, said, err = show(
        capsys, monkeypatch, config, files['gfl_r34_bccd'], files['image'], '--out', out, '--level', 1, 2
    )
    assert status == 0, err
    assert str(out) in said
    picture = cv2.imread(str(out))
    assert picture is not None and picture.std() > 0


def test_points_lie_where_the_network_saw_them(files: dict[str, Path]) -> None:
    args = tool.parser().parse_args([str(SELF), str(files['gfl_r18_bccd']), str(files['image'])])
    config = load_config(args.config)
    distiller = tool.build_distiller(config, 'LocalGraphDistiller', None)[1]
    model = tool.build_teacher(config, args.checkpoint, 'cpu')
    assert not model.training
    batch, taps = tool.look(model, distiller, args.image)
    assert not model._forward_pre_hooks
    figure = tool.on_image(args, distiller, batch, taps)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 2 * 5 and panels[0].images[0].get_array().shape == (300, 410, 3)
    # At the finest level, the highest channels of the pyramid's map; 410 x 300 pixels became 320 x 234, padded to 256.
    (dots,) = panels[0].collections
    level = taps['teacher'][0][0]
    assert level.shape == (64, 32, 40)
    highest = level.amax(dim=0)[:30].flatten().topk(256).indices
    scale = np.array(batch.data_samples[0].scale_factor)
    wanted = np.stack([highest % 40 * 8 + 4, highest // 40 * 8 + 4], axis=1) / scale
    np.testing.assert_allclose(sorted(dots.get_offsets().tolist()), sorted(wanted.tolist()), rtol=1e-4)
    assert dots.get_offsets().max(axis=0)[1] < 300 + 8


@pytest.mark.parametrize(
    ('config', 'arguments', 'sentence'),
    [
        (SELF, ['--level', '5'], '--level: 5 does not exist; valid: 0 to 4'),
        (SELF, ['--top', '0'], '--top: the neighbours of 0 points cannot be drawn; nearest: 1'),
        (SELF, ['--out', 'picture.pgn'], "--out: 'picture.pgn' does not end in a known format; nearest: 'png'"),
        (
            SELF,
            ['--distiller', 'grap'],
            "--distiller: 'grap' is no LocalGraphDistiller of the config; nearest",
        ),
        (
            FOLDER / 'gfl_r18-r18w32_bccd_feat.py',
            [],
            "default_hooks.distill.distillers has no 'kd_plugins.LocalGraphDistiller'",
        ),
        (FOLDER / 'gfl_r34-r18_bccd_local.py', [], 'checkpoint'),
    ],
)
def test_refusals(
    capsys: Any, monkeypatch: Any, files: dict[str, Path], config: Path, arguments: list[str], sentence: str
) -> None:
    status, _, err = show(capsys, monkeypatch, config, files['gfl_r18_bccd'], files['image'], *arguments)
    assert status == 2
    assert sentence in err and err.startswith('error: ') and 'Traceback' not in err


def test_several_distillers_need_a_name(capsys: Any, monkeypatch: Any, files: dict[str, Path]) -> None:
    more = ['--cfg-options', 'default_hooks.distill.distillers.more.type=kd_plugins.LocalGraphDistiller']
    status, _, err = show(capsys, monkeypatch, SELF, files['gfl_r18_bccd'], files['image'], *more)
    assert status == 2
    assert "--distiller: the config has several; valid: 'graph', 'more'" in err


def test_a_frame_seen_from_above(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    pytest.importorskip('mmdet3d')
    if not (ROOT.parent / 'shared' / 'data' / 'kitti').is_dir():
        pytest.skip('needs ../shared/data/kitti')
    monkeypatch.chdir(ROOT)
    config = str(FOLDER / 'pointpillars_x4_kitti-mini_local.py')
    found = load_config(str(FOLDER / 'pointpillars_kitti-mini.py'))
    init_default_scope('mmdet3d')
    torch.save({'state_dict': MODELS.build(found.model).state_dict(), 'meta': {}}, tmp_path / 'model.pth')
    out = tmp_path / 'frame.png'
    status, said, err = show(capsys, monkeypatch, config, tmp_path / 'model.pth', '000001.bin', '--out', out)
    assert status == 0, err
    assert str(out) in said and cv2.imread(str(out)).std() > 0
    status, _, err = show(capsys, monkeypatch, config, tmp_path / 'model.pth', '000009.bin', '--out', out)
    assert status == 2 and "'000009.bin' is no frame of test_dataloader.dataset; nearest: '00000" in err
