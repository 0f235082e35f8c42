"""Random outputs of a head, ground truth for them, and the criterion of the shipped configs."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.losses import GIoULoss, L1Loss
from mmdet.models.task_modules.assigners import HungarianAssigner
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor

from kd_plugins.losses import DDFLoss, FGLLoss
from kd_plugins.models.dfine import Criterion, Predictions, VFLLoss
from kd_plugins.ops.edge_bins import expected_offsets, refine_boxes, weighting_function

CLASSES = 5
SHAPE = (120, 160)
BINS = weighting_function(32, up=0.5, reg_scale=4.0, dtype=torch.float64)
COSTS = [
    dict(type='FocalLossCost', weight=2.0, eps=1e-8),
    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
    dict(type='IoUCost', iou_mode='giou', weight=2.0),
]


def boxes(*shape: int, generator: torch.Generator) -> Tensor:
    """Return boxes (cx, cy, w, h) inside the unit square."""
    center = 0.3 + 0.4 * torch.rand(*shape, 2, generator=generator, dtype=torch.float64)
    return torch.cat([center, 0.1 + 0.3 * torch.rand(*shape, 2, generator=generator, dtype=torch.float64)], dim=-1)


def predictions(layers: int = 3, images: int = 2, queries: int = 7, seed: int = 0, spread: float = 2.0) -> Predictions:
    """Return random outputs whose boxes follow from their distributions, in float32."""
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = dict(generator=generator, dtype=torch.float64)
    logits = spread * torch.randn(layers, images, queries, 4, 33, **options)
    initial = boxes(images, queries, generator=generator)
    refined = refine_boxes(initial, expected_offsets(logits, BINS), 4.0)
    scores = torch.randn(layers, images, queries, CLASSES, **options)
    parts = scores, refined, logits, torch.randn(images, queries, CLASSES, **options), initial
    return Predictions(*(part.float().requires_grad_() for part in parts))


def truths(numbers: list[int], seed: int = 1) -> list[InstanceData]:
    """Return objects in pixels of images of :data:`SHAPE`."""
    generator = torch.Generator().manual_seed(seed)
    actual = []
    for number in numbers:
        center, size = boxes(number, generator=generator).split(2, dim=-1)
        corners = torch.cat([center - size / 2, center + size / 2], dim=-1).float()
        scale = torch.tensor([SHAPE[1], SHAPE[0]] * 2)
        actual.append(InstanceData(bboxes=corners * scale, labels=torch.arange(number) % CLASSES))
    return actual


def criterion(**options: Any) -> Criterion:
    """Return the criterion with the weights of the paper."""
    # Another test of the process may have left MMEngine's scope, which does not know the costs.
    with DefaultScope.overwrite_default_scope('mmdet'):
        match_costs = HungarianAssigner(match_costs=COSTS).match_costs
    settings: dict[str, Any] = dict(
        num_classes=CLASSES,
        bins=BINS.float(),
        reg_scale=4.0,
        match_costs=match_costs,
        loss_cls=VFLLoss(),
        loss_bbox=L1Loss(loss_weight=5.0),
        loss_iou=GIoULoss(loss_weight=2.0),
        loss_fgl=FGLLoss(),
        loss_ddf=DDFLoss(),
    )
    return Criterion(**{**settings, **options})


def evaluate(made: Criterion, outputs: Predictions, objects: list[InstanceData], **options: Any) -> dict[str, Tensor]:
    """Call the criterion on images of :data:`SHAPE`."""
    return made(outputs, objects, [SHAPE] * len(objects), **options)


def gradients(losses: dict[str, Tensor], outputs: Predictions) -> list[Tensor]:
    """Return the gradient of the sum of losses on each part of the outputs; every part must have one."""
    return list(torch.autograd.grad(torch.stack(list(losses.values())).sum(), outputs, retain_graph=True))
