"""Small trained models and data on disk, as fixtures for the tests of commands and of figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.config.loading import load_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
JOINTS = 14
SMALL_SIMCC = """
_base_ = ['{base}']
model = dict(
    backbone=dict(deepen_factor=0.167, widen_factor=0.0625),
    head=dict(in_channels=64, final_layer_kernel_size=1, gau_cfg=dict(hidden_dims=16, s=8)),
)
"""
SMALL_HEATMAP = """
_base_ = ['{base}']
model = dict(
    backbone=dict(base_channels=4, stem_channels=4),
    head=dict(in_channels=32, deconv_out_channels=(8, 8, 8)),
)
"""
FDR_CONFIG = CONFIGS / 'dfine' / 'dino_r18_bccd_golsd.py'
SMALL_FDR: dict[str, Any] = {
    'model.backbone.base_channels': 8,
    'model.neck.in_channels': [32, 64],
    'model.num_queries': 12,
    'model.test_cfg.max_per_img': 12,
    'model.bbox_head.reg_max': 8,
}


def write_image(path: Path, height: int, width: int, seed: int = 0) -> None:
    """Write a random image."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3))
    cv2.imwrite(str(path), pixels.astype(np.uint8))


def save_model(config: Path, out: Path, scope: str, seed: int = 0, options: Any = None, **meta: Any) -> None:
    """Write a checkpoint of a config's model with random weights."""
    loaded = load_config(str(config), options)
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(loaded.model)
    if hasattr(model, 'level_embed'):
        # MMDetection leaves it to init_weights(), which would make all decoder layers agree, to fill it.
        torch.nn.init.normal_(model.level_embed)
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, out)


def write_detectors(folder: Path) -> dict[str, Path]:
    """Write checkpoints of the small and of the wide detector, and an image that the pipeline shrinks."""
    for name in ('gfl_r18_bccd', 'gfl_r34_bccd'):
        save_model(CONFIGS / 'gfl' / f'{name}.py', folder / f'{name}.pth', 'mmdet')
    write_image(folder / 'image.png', 300, 410)
    return {path.stem: path for path in folder.iterdir()}


def write_fdr_detector(folder: Path) -> tuple[Path, Path]:
    """Write a checkpoint whose decoder layers disagree, and an image that the pipeline shrinks."""
    classes = {'classes': ('red', 'white', 'platelet')}
    save_model(FDR_CONFIG, folder / 'model.pth', 'mmdet', options=SMALL_FDR, dataset_meta=classes)
    write_image(folder / 'image.png', 300, 410)
    return folder / 'model.pth', folder / 'image.png'


def write_people(root: Path) -> Path:
    """Write two people in two images, configs of small estimators, and checkpoints ``student`` and ``teacher``."""
    rng = np.random.default_rng(0)
    (root / 'coco').mkdir()
    (root / 'images').mkdir()
    images, people = [], []
    for number in (1, 2):
        name = f'{number}.png'
        write_image(root / 'images' / name, 100, 120, seed=number)
        images.append(dict(id=number, file_name=name, width=120, height=100))
        joints = np.column_stack([rng.uniform(20, 80, (JOINTS, 2)), np.full(JOINTS, 2)])
        joints[5] = 0  # not annotated
        shared = dict(id=number, image_id=number, category_id=1, iscrowd=0, area=900, num_keypoints=JOINTS - 1)
        people.append(dict(shared, bbox=[10 * number, 15, 70, 75], keypoints=joints.round(1).ravel().tolist()))
    data = dict(images=images, annotations=people, categories=[dict(id=1, name='person')])
    (root / 'coco' / 'val.json').write_text(json.dumps(data))
    pose = CONFIGS / 'dwpose'
    (root / 'small.py').write_text(SMALL_SIMCC.format(base=(pose / 'rtmpose-t_lspet.py').as_posix()))
    (root / 'heatmap.py').write_text(SMALL_HEATMAP.format(base=(pose / 'simplebaseline-r18_lspet.py').as_posix()))
    for seed, name in enumerate(('student', 'teacher')):
        save_model(root / 'small.py', root / f'{name}.pth', 'mmpose', seed)
    save_model(root / 'heatmap.py', root / 'heatmap.pth', 'mmpose')
    return root


def write_slices(folder: Path) -> Path:
    """Write ten slices with labels as the ISBI challenge has them."""
    for index in range(10):
        for name in ('image', 'label'):
            (folder / name).mkdir(exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 2, (8, 8)).repeat(8, 0).repeat(8, 1) * 255
            cv2.imwrite(str(folder / name / f'{index}.png'), pixels.astype(np.uint8))
    return folder


@pytest.fixture(scope='session')
def people_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :func:`write_people` writes."""
    return write_people(tmp_path_factory.mktemp('people'))


@pytest.fixture
def people(people_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of people, read by the configs of LSPE."""
    monkeypatch.setenv('LSPET_ROOT', str(people_folder))
    return people_folder


@pytest.fixture
def slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of slices, read by the configs of ISBI."""
    (tmp_path / 'slices').mkdir()
    monkeypatch.setenv('ISBI_ROOT', str(tmp_path / 'slices'))
    return write_slices(tmp_path / 'slices')


@pytest.fixture(scope='session')
def detectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What :func:`write_detectors` writes."""
    return write_detectors(tmp_path_factory.mktemp('detectors'))


@pytest.fixture(scope='session')
def fdr_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What :func:`write_fdr_detector` writes."""
    return write_fdr_detector(tmp_path_factory.mktemp('fdr'))
