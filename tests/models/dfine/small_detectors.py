"""Shipped detectors of D-FINE, a few channels wide."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from kd_plugins.registry import MODELS

ROOT = Path(__file__).resolve().parents[3]
FAMILIES = {'dino': 'dino_r18_bccd', 'deformable': 'deformable-detr_r18_bccd', 'dab': 'dab-detr_r18_bccd'}


def config(family: str, fdr: bool = True, **options: Any) -> dict[str, Any]:
    """Return a shipped model config with fewer and narrower parts."""
    cfg = Config.fromfile(ROOT / 'configs' / 'dfine' / f'{FAMILIES[family]}{"_golsd" if fdr else ""}.py')
    cfg.merge_from_dict({f'model.{key}': value for key, value in options.items()})
    model = cfg.model
    model.num_queries = 12
    model.backbone.update(base_channels=8)
    model.neck.in_channels = [channels // 8 for channels in model.neck.in_channels]
    for coder in (model.encoder, model.decoder):
        coder.layer_cfg.ffn_cfg.feedforward_channels = 32
    model.test_cfg.max_per_img = 10
    return model.to_dict()


def build(model: dict[str, Any], seed: int = 0) -> torch.nn.Module:
    init_default_scope('mmdet')
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmdet'):
        made = MODELS.build(copy.deepcopy(model))
    made.init_weights()
    return made


def batch(model: torch.nn.Module, numbers: list[int]) -> dict[str, Any]:
    shapes = [[3, 64, 96 - 8 * index] for index in range(len(numbers))]
    return model.data_preprocessor(demo_mm_inputs(len(numbers), shapes, num_items=numbers, num_classes=3), True)


def losses(model: torch.nn.Module, numbers: list[int]) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return model(**batch(model, numbers), mode='loss')


def run_decoder(model: torch.nn.Module, data: dict[str, Any]) -> Any:
    actual = []
    handle = model.decoder.register_forward_hook(lambda module, args, output: actual.append(output))
    model(**data, mode='tensor')
    handle.remove()
    return actual[0]
