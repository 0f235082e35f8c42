"""The recipes of configs/dfine_native against the release: groups of parameters, augmentation, sizes, stages, average.

The expected numbers are those of Peterande/D-FINE 4a1f73a, configs/dfine.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from torch import nn

pytest.importorskip('mmdet')

from mmdet.utils import register_all_modules
from mmengine.dataset import Compose
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.config.second_stage import check_second_stage
from kd_plugins.hooks.averages import LEAST_DECAY, start_decay
from kd_plugins.hooks.fitted_ema_hook import fitted
from tests.datasets.detection_transforms.items import BOXES, HEIGHT, WIDTH, assert_masks_fill_boxes, item

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'dfine_native'
NAMES = sorted(path.stem for path in FOLDER.glob('dfine_*.py'))
IMAGES = {'coco': 117_266, 'o365': 1_742_289, 'o365-coco': 117_266}

# Size to total batch, rate, rate of the backbone, decay, epochs, end of the first stage, share of 640 pixels.
RELEASED = {
    'dfine_n_coco': (128, 8e-4, 4e-4, 1e-4, 160, 148, None),
    'dfine_s_coco': (32, 2e-4, 1e-4, 1e-4, 132, 120, 20 / 30),
    'dfine_m_coco': (32, 2e-4, 2e-5, 1e-4, 132, 120, 6 / 16),
    'dfine_l_coco': (32, 2.5e-4, 1.25e-5, 1.25e-4, 80, 72, 4 / 14),
    'dfine_x_coco': (32, 2.5e-4, 2.5e-6, 1.25e-4, 80, 72, 3 / 13),
    'dfine_n_o365': (128, 8e-4, 4e-4, 1e-4, 48, None, None),
    'dfine_s_o365': (32, 2.5e-4, 1.25e-4, 1.25e-4, 36, None, 20 / 30),
    'dfine_m_o365': (32, 2.5e-4, 2.5e-5, 1.25e-4, 36, None, 6 / 16),
    'dfine_l_o365': (32, 2.5e-4, 1.25e-5, 1.25e-4, 24, None, 4 / 14),
    'dfine_x_o365': (32, 2.5e-4, 2.5e-6, 1.25e-4, 24, None, 3 / 13),
    'dfine_n_o365-coco': (128, 8e-4, 4e-4, 1e-4, 64, 56, None),
    'dfine_s_o365-coco': (32, 2.5e-4, 1.25e-4, 1.25e-4, 64, 56, 10 / 20),
    'dfine_m_o365-coco': (32, 2.5e-4, 2.5e-5, 1.25e-4, 56, 48, 6 / 16),
    'dfine_l_o365-coco': (32, 2.5e-4, 1.25e-5, 1.25e-4, 36, 30, 4 / 14),
    'dfine_x_o365-coco': (32, 2.5e-4, 2.5e-6, 1.25e-4, 36, 30, 3 / 13),
}
# Regular expressions of the release's groups: rate of the backbone, decay.
BACKBONE = '^(?=.*backbone)(?!.*norm|bn).*$'
WITHOUT_DECAY = {
    False: '^(?=.*(?:encoder|decoder))(?=.*(?:norm|bn|bias)).*$',
    True: '^(?=.*(?:encoder|decoder))(?=.*(?:norm|bn)).*$',
}


@cache
def config_of(name: str) -> Config:
    """Return a shipped config; do not change it."""
    return Config.fromfile(FOLDER / f'{name}.py')


class Block(nn.Module):
    """A convolution with its norm, as in the models of MMDetection."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(2)


class Toy(nn.Module):
    """Parts of a detector with every kind of parameter of D-FINE, one of them frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict(
            {'stem': Block(), 'lab': nn.ParameterDict({'scale': nn.Parameter(nn.Linear(1, 1).bias.data)})}
        )
        self.backbone.stem.conv.weight.requires_grad = False
        self.encoder = nn.ModuleDict(
            {'attn': nn.MultiheadAttention(4, 2), 'norms': nn.ModuleList([nn.LayerNorm(4)]), 'down': Block()}
        )
        self.decoder = nn.ModuleDict({'ffn': nn.Linear(4, 4), 'norms': nn.ModuleList([nn.LayerNorm(4)])})
        self.neck = Block()
        self.bbox_head = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])


def assert_groups(name: str, model: nn.Module) -> None:
    """Compare rate and decay of each parameter with the groups that the release makes of its name."""
    batch, rate, slow, decay, *_ = RELEASED[name]
    config = config_of(name)
    settings = copy.deepcopy(config.optim_wrapper)
    groups = DefaultOptimWrapperConstructor(settings, settings.pop('paramwise_cfg'))(model).optimizer.param_groups
    names = {id(value): key for key, value in model.named_parameters()}
    found = {names[id(value)]: (group['lr'], group['weight_decay']) for group in groups for value in group['params']}
    assert found.keys() == {key for key, value in model.named_parameters() if value.requires_grad}
    for key, (got_rate, got_decay) in found.items():
        # Neck, head and the selection of queries are parts of the release's encoder and decoder.
        official = key if key.startswith(('backbone.', 'encoder.', 'decoder.')) else f'decoder.{key}'
        assert got_rate == pytest.approx(slow if re.match(BACKBONE, official) else rate), key
        free = re.match(WITHOUT_DECAY['_l_' in name or '_x_' in name], official)
        assert got_decay == pytest.approx(0 if free else decay), key
    assert config.auto_scale_lr.base_batch_size == 4 * config.train_dataloader.batch_size == batch


@pytest.mark.parametrize('name', sorted(RELEASED))
def test_groups_have_rates_and_decays_of_the_release(name: str) -> None:
    assert_groups(name, Toy())
    wrapper = config_of(name).optim_wrapper
    assert wrapper.clip_grad == dict(norm_type=2, max_norm=0.1)
    assert wrapper.optimizer.type == 'AdamW' and tuple(wrapper.optimizer.betas) == (0.9, 0.999)


@pytest.mark.parametrize(('name', 'trained'), [('dfine_n_coco', 3_782_691), ('dfine_l_coco', 31_219_222)])
def test_every_trained_parameter_of_the_detector_is_in_its_group(name: str, trained: int) -> None:
    """The numbers are those of the release without its two constants ``up`` and ``reg_scale``."""
    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config_of(name).model)
    assert sum(value.numel() for value in model.parameters() if value.requires_grad) == trained
    assert_groups(name, model)


@pytest.mark.parametrize('name', sorted(RELEASED))
def test_lengths_and_sizes_are_those_of_the_release(name: str) -> None:
    *_, epochs, stop, share = RELEASED[name]
    config = config_of(name)
    check_second_stage(config)
    assert config.train_cfg.max_epochs == epochs and config.train_cfg.val_interval == 1
    assert (config.default_hooks.get('second_stage') or {}).get('stop_epoch') == stop
    sizes = [augment['sizes'] for augment in config.model.data_preprocessor.get('batch_augments') or []]
    if share is None:
        assert not sizes
    else:
        counts = Counter(sizes[0])
        assert counts.pop(640) / len(sizes[0]) == pytest.approx(share)
        assert counts == dict.fromkeys((480, 512, 544, 576, 608, 672, 704, 736, 768, 800), 1)
    warm_up = config.param_scheduler
    assert (warm_up is None) == name.endswith('o365-coco')
    assert warm_up is None or (warm_up[0].start_factor, warm_up[0].end) == (1 / 500, 500)


def test_fine_tuning_needs_its_weights() -> None:
    """A run without the file ends in a sentence (``set_resume``) and does not train from random weights."""
    starts = {name for name in NAMES if (config_of(name).get('load_from') or '').startswith('checkpoints/dfine_')}
    assert starts == {name for name in NAMES if name.endswith(('_custom', '_o365-coco'))} and len(starts) == 10


@pytest.mark.parametrize('name', NAMES)
def test_the_average_leaves_the_start(name: str) -> None:
    """Also in an epoch of 37 iterations, which 300 images at a batch size of 8 make."""
    from mmdet.models.layers import ExpMomentumEMA

    config = config_of(name)
    hook = config.default_hooks.ema
    assert hook.type == 'kd_plugins.FittedEMAHook' and hook.priority < 50
    images = IMAGES.get(name.rpartition('_')[2])
    length = 37 if images is None else images // config.auto_scale_lr.base_batch_size
    updates = config.train_cfg.max_epochs * length
    momentum, gamma = fitted(1e-4, 1000, updates, 100_000)
    assert start_decay(ExpMomentumEMA(nn.Linear(1, 1), momentum, gamma), updates) > LEAST_DECAY
    assert (momentum == 1e-4) == (images is not None) or name == 'dfine_n_o365-coco' or name == 'dfine_n_coco'


@pytest.fixture
def pipelines() -> Iterator[tuple[Any, Any]]:
    register_all_modules(init_default_scope=False)
    config = config_of('dfine_s_coco')
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield config.train_dataloader.dataset.pipeline, config.default_hooks.second_stage.pipeline


def test_the_second_stage_lacks_exactly_the_strong_steps(pipelines: tuple[Any, Any]) -> None:
    strong, weak = ([step['type'] for step in steps] for steps in pipelines)
    assert strong == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'kd_plugins.RandomPhotometricDistort',
        'Expand',
        'kd_plugins.RandomIoUCrop',
        'kd_plugins.DropSmallBoxes',
        'RandomFlip',
        'Resize',
        'kd_plugins.DropSmallBoxes',
        'PackDetInputs',
    ]
    assert weak == [step for step in strong if step not in strong[2:5]]


def test_zoom_out_places_the_image_on_a_canvas_of_up_to_four_sides(pipelines: tuple[Any, Any]) -> None:
    """MMDetection's ``Expand`` is torchvision's ``RandomZoomOut(p=0.5, side_range=(1, 4), fill=0)``."""
    np.random.seed(0)
    expand = Compose([pipelines[0][3]])
    ratios = []
    for _ in range(400):
        results = item()
        del results['gt_seg_map']
        results = expand(results)
        height, width = results['img'].shape[:2]
        if (height, width) == (HEIGHT, WIDTH):
            continue
        assert results['img_shape'] == (height, width)
        rows, columns = np.nonzero(results['img'][..., 2])
        top, left = rows.min(), columns.min()
        assert (results['img'][top : top + HEIGHT, left : left + WIDTH] == item()['img']).all()
        assert results['img'].sum() == item()['img'].sum(), 'the rest of the canvas is 0'
        assert np.allclose(results['gt_bboxes'].tensor, np.array(BOXES) + [left, top, left, top])
        assert_masks_fill_boxes(results)
        ratios.append(width / WIDTH)
        assert abs(height / HEIGHT - width / WIDTH) < 0.02
    assert abs(len(ratios) / 400 - 0.5) < 0.08
    counts, _ = np.histogram(ratios, bins=3, range=(1, 4))
    assert counts.sum() == len(ratios) and np.abs(counts / len(ratios) - 1 / 3).max() < 0.1


def test_a_whole_item_stays_valid(pipelines: tuple[Any, Any]) -> None:
    np.random.seed(0)
    for steps in pipelines:
        transforms = Compose([step for step in steps if not step['type'].startswith('Load')])
        kept = []
        for _ in range(40):
            results = item()
            del results['gt_masks'], results['gt_seg_map']
            packed = transforms({**results, 'img_id': 1, 'img_path': '', 'ori_shape': (HEIGHT, WIDTH)})
            assert packed['inputs'].shape == (3, 640, 640)
            boxes = packed['data_samples'].gt_instances.bboxes.tensor
            assert (boxes >= 0).all() and (boxes <= 640).all() and (boxes[:, 2:] - boxes[:, :2] >= 1).all()
            kept.append(len(boxes))
        assert max(kept) == 3
