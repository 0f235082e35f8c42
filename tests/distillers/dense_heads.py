"""Small dense heads of MMDetection, and their tapped outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import BaseDistiller, Taps
from kd_plugins.taps import TapSet

SIZES = [(8, 8), (4, 4)]
"""Maps of both levels, for images of 64 x 64."""
STRIDES = [8, 16]
ANCHORS = {'type': 'AnchorGenerator', 'ratios': [1.0], 'octave_base_scale': 8, 'scales_per_octave': 1}
GIOU = {'type': 'GIoULoss'}
NORM = {'type': 'GN', 'num_groups': 2}
POINTS = {'type': 'MlvlPointGenerator', 'offset': 0, 'strides': STRIDES}
SIGMOID = {'type': 'FocalLoss', 'use_sigmoid': True}

CONFIGS: dict[str, dict[str, Any]] = {
    'fcos': {'type': 'FCOSHead', 'norm_on_bbox': True, 'strides': STRIDES, 'norm_cfg': NORM},
    'fcos_exp': {'type': 'FCOSHead', 'norm_on_bbox': False, 'strides': STRIDES, 'norm_cfg': NORM},
    'atss': {'type': 'ATSSHead', 'anchor_generator': {**ANCHORS, 'strides': STRIDES}, 'norm_cfg': NORM},
    'retina': {
        'type': 'RetinaHead',
        'anchor_generator': {**ANCHORS, 'octave_base_scale': 4, 'scales_per_octave': 3, 'strides': STRIDES},
        'bbox_coder': {'type': 'DeltaXYWHBBoxCoder', 'target_stds': [0.1, 0.1, 0.2, 0.2]},
    },
    'rtmdet': {'type': 'RTMDetHead', 'anchor_generator': POINTS, 'norm_cfg': NORM, 'loss_bbox': GIOU},
    'rtmdet_sep': {'type': 'RTMDetSepBNHead', 'anchor_generator': POINTS, 'norm_cfg': NORM, 'loss_bbox': GIOU},
    'rtmdet_sep_plain': {
        'type': 'RTMDetSepBNHead',
        'anchor_generator': POINTS,
        'norm_cfg': NORM,
        'loss_bbox': GIOU,
        'with_objectness': False,
    },
    'rtmdet_sep_exp': {
        'type': 'RTMDetSepBNHead',
        'anchor_generator': POINTS,
        'norm_cfg': NORM,
        'loss_bbox': GIOU,
        'exp_on_reg': True,
    },
    'yolox': {'type': 'YOLOXHead', 'strides': STRIDES, 'norm_cfg': NORM},
    'gfl': {
        'type': 'GFLHead',
        'anchor_generator': {**ANCHORS, 'strides': STRIDES},
        'norm_cfg': NORM,
        'reg_max': 7,
        'loss_cls': {'type': 'QualityFocalLoss', 'use_sigmoid': True},
        'loss_bbox': GIOU,
    },
}


class Detector(nn.Module):
    """A model that has a head and nothing else."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.bbox_head = head


def detector(name: str, seed: int = 0, **kwargs: Any) -> Detector:
    """Return a detector with a head of :data:`CONFIGS`, all parameters random."""
    heads = pytest.importorskip('mmdet.models.dense_heads')
    config = {**CONFIGS[name], 'num_classes': 3, 'in_channels': 4, 'feat_channels': 4, 'stacked_convs': 1, **kwargs}
    if config['type'].startswith('RTMDet'):
        config.setdefault('bbox_coder', {'type': 'DistancePointBBoxCoder'})
    head = getattr(heads, config.pop('type'))(**config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            # A scale of a level is a scalar, and training keeps it near 1.
            values = torch.randn(parameter.shape, generator=generator) * 0.5
            parameter.copy_(values if parameter.ndim else 1 + 0.2 * values)
    return Detector(head)


def features(images: int = 2, seed: int = 0) -> list[Tensor]:
    """Return a feature map of each level."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, 4, *size, generator=generator) for size in SIZES]


def tapped(distiller: BaseDistiller, model: Detector, role: str, maps: list[Tensor]) -> tuple[dict, Any]:
    """Return the outputs of a distiller's taps of one network, and those of the head."""
    paths = distiller.student_taps() if role == 'student' else distiller.teacher_taps()
    taps = TapSet(model, {f'distillers.x.{alias}': path for alias, path in paths.items()}, role)
    taps.start()
    outputs = model.bbox_head(maps)
    return {alias: taps.read(path) for alias, path in paths.items()}, outputs


def both(distiller: BaseDistiller, student: Detector, teacher: Detector, images: int = 2) -> tuple[Taps, Taps]:
    """Check a distiller against two detectors and return the outputs of its taps on the same features."""
    distiller.check_models(student, teacher)
    teacher.eval()
    outputs = tapped(distiller, student, 'student', features(images))[0]
    with torch.no_grad():
        teacher_outputs = tapped(distiller, teacher, 'teacher', features(images))[0]
    distiller.initialize(outputs, teacher_outputs)
    return outputs, teacher_outputs
