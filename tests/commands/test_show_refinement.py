"""tools/analysis/show_refinement.py on a small random detector, and what it refuses."""

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
from kd_plugins.visualization import record_refinement

ROOT = Path(__file__).resolve().parents[2]
tool = import_module('kd_plugins.commands.show_refinement')
CONFIG = ROOT / 'configs' / 'dfine' / 'dino_r18_bccd_golsd.py'
SMALL = {
    'model.backbone.base_channels': 8,
    'model.neck.in_channels': [32, 64],
    'model.num_queries': 12,
    'model.test_cfg.max_per_img': 12,
    'model.bbox_head.reg_max': 8,
}


@pytest.fixture(scope='module')
def files(tmp_path_factory: Any) -> tuple[Path, Path]:
    """Return a checkpoint whose layers disagree, and an image that the pipeline shrinks."""
    folder = tmp_path_factory.mktemp('show')
    config = load_config(str(CONFIG), SMALL)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    # MMDetection leaves it to init_weights(), which would make all layers agree, to fill this one.
    torch.nn.init.normal_(model.level_embed)
    meta = {'dataset_meta': {'classes': ('red', 'white', 'platelet')}}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, folder / 'model.pth')
    image = np.random.default_rng(0).integers(0, 255, (300, 410, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / 'image.png'), image)
    return folder / 'model.pth', folder / 'image.png'


def show(capsys: Any, monkeypatch: Any, *arguments: Any, small: bool = True) -> tuple[int, str, str]:
    monkeypatch.delenv('KD_DEBUG', raising=False)
    written = [f'{key}={str(value).replace(" ", "")}' for key, value in SMALL.items()] if small else []
    options = ['--cfg-options', *written] if small else []
    monkeypatch.setattr(sys, 'argv', ['show_refinement', *map(str, arguments), *options])
    status = 0
    try:
        tool.main()
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    found = capsys.readouterr()
    return status, found.out, found.err


def test_a_picture_is_written(capsys: Any, monkeypatch: Any, tmp_path: Path, files: tuple[Path, Path]) -> None:
    out = tmp_path / 'new' / 'picture.png'
    status, said, err = show(capsys, monkeypatch, CONFIG, *files, '--out', out, '--score-thr', 0, '--top', 2)
    assert status == 0, err
    assert str(out) in said
    picture = cv2.imread(str(out))
    assert picture is not None and picture.std() > 0


def test_the_boxes_are_the_models_detections(files: tuple[Path, Path]) -> None:
    from mmdet.apis import inference_detector

    args = tool.parser().parse_args([str(CONFIG), *map(str, files), '--score-thr', '0', '--top', '3'])
    model, meta = tool.build_detector(load_config(str(CONFIG), SMALL), str(files[0]), 'cpu')
    figure = tool.picture(model, meta, tool.read_image(args.image), args)
    found = inference_detector(model, args.image).pred_instances
    # A query can be detected as several classes; the first of them has its highest score.
    boxes = dict.fromkeys(tuple(box) for box in found.bboxes.round(decimals=3).tolist())
    for patch, box in zip(figure.axes[0].patches, list(boxes)[:3], strict=True):
        corners = np.array([*patch.get_xy(), *np.add(patch.get_xy(), [patch.get_width(), patch.get_height()])])
        inside = corners.clip(0, [410, 300, 410, 300])
        np.testing.assert_allclose(inside, box, atol=0.02)
    label = ('red', 'white', 'platelet')[int(found.labels[0])]
    assert figure.axes[1].get_title().endswith(f', {label} {float(found.scores[0]):.2f}')
    assert figure.axes[0].images[0].get_array().shape == (300, 410, 3)
    # The layers disagree, so that the picture shows something.
    layers = np.array([patch.get_xy() for patch in figure.axes[1].patches])
    assert np.ptp(layers, axis=0).max() > 0


def test_named_queries_are_shown(files: tuple[Path, Path]) -> None:
    args = tool.parser().parse_args([str(CONFIG), *map(str, files), '--query', '7', '2'])
    model, _ = tool.build_detector(load_config(str(CONFIG), SMALL), str(files[0]), 'cpu')
    figure = tool.picture(model, {}, tool.read_image(args.image), args)
    titles = [figure.axes[number].get_title() for number in (1, 6)]
    assert titles[0].startswith('1: query 7, class ') and titles[1].startswith('2: query 2, class ')
    with record_refinement(model.decoder) as passes:
        tool.picture(model, {}, tool.read_image(args.image), args)
    wanted = passes[0][1].logits[0, 0, 7, 0].softmax(dim=-1).numpy()
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--query', '12'], '--query: 12 does not exist; valid: 0 to 11'),
        (['--score-thr', '1.5'], '--score-thr: no detection reaches 1.5; the highest score is 0.'),
        (['--out', 'picture.pgn'], "--out: 'picture.pgn' does not end in a known format; nearest: 'png'"),
        (['--top', '0'], '--top: 0 detections cannot be drawn; nearest: 1'),
        (['--device', 'warp'], "--device: 'warp' cannot be used"),
    ],
)
def test_refusals(capsys: Any, monkeypatch: Any, files: tuple[Path, Path], arguments: list[str], sentence: str) -> None:
    status, _, err = show(capsys, monkeypatch, CONFIG, *files, *arguments)
    assert status == 2
    assert f'error: {sentence}' in err and 'Traceback' not in err


@pytest.mark.parametrize(
    ('config', 'kind', 'close'),
    [('gfl/gfl_r18_bccd.py', 'GFL', 'FDRDINO'), ('dfine/dino_r18_bccd.py', 'DINO', 'FDRDINO')],
)
def test_a_detector_without_fdr_is_a_sentence(
    capsys: Any, monkeypatch: Any, files: tuple[Path, Path], config: str, kind: str, close: str
) -> None:
    status, _, err = show(capsys, monkeypatch, ROOT / 'configs' / config, *files, small=False)
    assert status == 2
    assert f"error: model.type: '{kind}' has no edge distributions of FDR to show; nearest: 'kd_plugins.{close}'" in err
    assert 'Traceback' not in err


def test_an_image_that_cannot_be_read_is_a_sentence(
    capsys: Any, monkeypatch: Any, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    (tmp_path / 'text.jpg').write_text('no image')
    (tmp_path / 'empty.jpg').touch()
    for name in ('text.jpg', 'empty.jpg', '.'):
        status, _, err = show(capsys, monkeypatch, CONFIG, files[0], tmp_path / name)
        assert status == 2
        assert f"error: image: '{tmp_path / name}' is no image that OpenCV can read" in err
    status, _, err = show(capsys, monkeypatch, CONFIG, files[0], tmp_path / 'absent.jpg')
    assert status == 2
    assert "absent.jpg' does not exist" in err
