"""The recipe of configs/dfine_native/deim_dfine_s_coco.py against DEIM: images, schedule, groups of parameters, stages.

The expected numbers are those of ShihuaHuang95/DEIM, deim_hgnetv2_s_coco.yml and base/deim.yml.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

pytest.importorskip('mmdet')

from mmdet.utils import register_all_modules
from mmengine.dataset import Compose
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

from tests.datasets.detection_transforms.items import item

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'dfine_native' / 'deim_dfine_s_coco.py'
LENGTH = 50
"""Iterations of an epoch."""


@cache
def config() -> Config:
    """Return the config; do not change it."""
    register_all_modules(init_default_scope=False)
    return Config.fromfile(CONFIG)


def boxes_only() -> dict[str, Any]:
    """Return an item as the config loads it, without masks."""
    return {name: value for name, value in item().items() if name not in ('gt_masks', 'gt_seg_map')}


def test_dense_images_hold_more_objects() -> None:
    """Mosaics and blended images reach the network whole, at one size, with the boxes inside."""
    steps = [step for step in config().dense_pipeline if not step['type'].startswith('Load')]
    names = [step['type'] for step in steps]
    assert names.index('RandomChoice') < names.index('Resize') < names.index('CachedMixUp')
    with DefaultScope.overwrite_default_scope('mmdet'):
        pipeline = Compose(steps)
        np.random.seed(0)
        torch.manual_seed(0)
        packed = [pipeline(boxes_only()) for _ in range(30)][6:]
    before = len(item()['gt_bboxes'])
    counts = [len(one['data_samples'].gt_instances) for one in packed]
    assert max(counts) > 2 * before and sum(counts) / len(counts) > 1.3 * before
    for one in packed:
        assert one['inputs'].shape == (3, 640, 640)
        boxes = one['data_samples'].gt_instances.bboxes.tensor
        assert (boxes >= 0).all() and (boxes <= 640).all()


def test_stages_switch_as_in_deim() -> None:
    cfg = config()
    hooks = cfg.default_hooks
    assert [hooks.dense.switch_epoch, hooks.dense_end.switch_epoch, hooks.second_stage.stop_epoch] == [4, 64, 120]
    weak, strong = cfg.second_stage_pipeline, cfg.train_pipeline
    assert cfg.train_dataloader.dataset.pipeline == weak == hooks.second_stage.pipeline
    assert hooks.dense.switch_pipeline == cfg.dense_pipeline and hooks.dense_end.switch_pipeline == strong
    assert cfg.train_cfg.max_epochs == 132 and cfg.model.bbox_head.loss_cls.type == 'kd_plugins.MALLoss'
    # The hook of the second stage runs last, so that a run resumed in it has its pipeline.
    assert all('priority' not in hooks[name] for name in ('dense', 'dense_end'))


def released(iteration: int) -> float:
    """The factor of the rate in DEIM's flat cosine schedule."""
    flat, stop = 64 * LENGTH, 120 * LENGTH
    if iteration <= 2000:
        return (iteration / 2000) ** 2
    if iteration <= flat:
        return 1.0
    if iteration >= stop:
        return 0.5
    return 0.5 + 0.25 * (1 + math.cos(math.pi * (iteration - flat) / (stop - flat)))


def test_schedule_is_that_of_deim() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedulers = []
    for entry in config().param_scheduler:
        entry = dict(entry)
        kind: Any = PARAM_SCHEDULERS.get(entry.pop('type'))
        if entry.pop('convert_to_iter_based', False):
            schedulers.append(kind.build_iter_from_epoch(optimizer, epoch_length=LENGTH, **entry))
        else:
            schedulers.append(kind(optimizer, **entry))
    for iteration in range(132 * LENGTH):
        if iteration % 100 == 0:
            assert optimizer.param_groups[0]['lr'] == pytest.approx(released(iteration), abs=2e-3)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


class Toy(nn.Module):
    """A backbone and a head with a norm, a weight and biases each."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.decoder = (
            nn.ModuleDict({'conv': nn.Conv2d(1, 1, 1), 'bn': nn.BatchNorm2d(1)}) for _ in range(2)
        )
        self.attention = nn.MultiheadAttention(2, 1)


def test_groups_of_parameters() -> None:
    wrapper = config().optim_wrapper
    model = Toy()
    options = dict(optimizer=wrapper.optimizer.to_dict(), type='OptimWrapper')
    groups = DefaultOptimWrapperConstructor(options, wrapper.paramwise_cfg.to_dict())(model).optimizer.param_groups
    held = {id(group['params'][0]): (group['lr'], group['weight_decay']) for group in groups}
    found = {name: held[id(parameter)] for name, parameter in model.named_parameters()}
    assert found['backbone.conv.weight'] == pytest.approx((2e-4, 1e-4))
    assert found['decoder.conv.weight'] == found['decoder.conv.bias'] == pytest.approx((4e-4, 1e-4))
    assert found['attention.in_proj_bias'] == pytest.approx((4e-4, 1e-4))
    assert found['decoder.bn.weight'] == pytest.approx((4e-4, 0.0))
