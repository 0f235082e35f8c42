"""Small DETRs of every kind for the tests of queries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')

from tests.models.dfine import small_detectors

KINDS = ('dab', 'dino', 'deformable', 'single', 'conditional', 'detr', 'fdr_dab', 'fdr_dino', 'fdr_deformable')
PLACED = tuple(kind for kind in KINDS if kind not in ('conditional', 'detr'))
"""Kinds whose queries have a place."""


def model_config(kind: str) -> dict[str, Any]:
    """Return the model of a kind: two images of its training fit in a second."""
    if kind in ('detr', 'conditional'):
        model = small_detectors.config('dab', fdr=False)
        layers: dict[str, Any] = dict(embed_dims=256, num_heads=8)
        for name in ('with_random_refpoints', 'num_patterns'):
            model.pop(name)
        model['encoder'] = _layers(1, self_attn_cfg=dict(layers, dropout=0.0, batch_first=True))
        model['positional_encoding'].pop('temperature')
        model['bbox_head'].pop('embed_dims')
        if kind == 'detr':
            attention = dict(layers, dropout=0.0, batch_first=True)
            model['decoder'] = _layers(3, self_attn_cfg=attention, cross_attn_cfg=attention)
            model['bbox_head'].update(
                type='DETRHead',
                loss_cls=dict(type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, class_weight=1.0),
            )
            model['train_cfg']['assigner']['match_costs'][0] = dict(type='ClassificationCost', weight=1.0)
        else:
            model['decoder'] = _layers(
                3,
                self_attn_cfg=dict(layers, attn_drop=0.0, cross_attn=False),
                cross_attn_cfg=dict(layers, attn_drop=0.0, cross_attn=True),
            )
            model['bbox_head']['type'] = 'ConditionalDETRHead'
        model['type'] = 'DETR' if kind == 'detr' else 'ConditionalDETR'
        model['decoder']['return_intermediate'] = True
        return model
    family = 'deformable' if kind == 'single' else kind.removeprefix('fdr_')
    options = {'as_two_stage': False} if kind == 'single' else {}
    return small_detectors.config(family, fdr=kind.startswith('fdr_'), **options)


def _layers(number: int, **attention: Any) -> dict[str, Any]:
    feedforward = dict(embed_dims=256, feedforward_channels=32, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU'))
    return dict(num_layers=number, layer_cfg=dict(**attention, ffn_cfg=feedforward))


def detr(kind: str, seed: int = 0) -> nn.Module:
    """Return a detector of a kind."""
    return small_detectors.build(model_config(kind), seed)


def batch_of(model: nn.Module, numbers: tuple[int, ...] = (3, 0), equal: bool = False) -> dict[str, Any]:
    """Return preprocessed images with so many objects each; they differ in width unless ``equal``."""
    from mmdet.testing import demo_mm_inputs

    shapes = [[3, 64, 96 - (0 if equal else 8 * index)] for index in range(len(numbers))]
    torch.manual_seed(0)
    return model.data_preprocessor(demo_mm_inputs(len(numbers), shapes, num_items=list(numbers), num_classes=3), True)
