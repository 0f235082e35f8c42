"""MMDetection's usual matching costs, computed for the objects of all images at once.

MMDetection's cost objects compare the predictions and objects of one image, and two of them copy a constant to the
device each time. With many images this takes thousands of small operations and a wait for the device per image.
A negative side counts as 0 where corners are compared, as in the losses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....ops.boxes import to_centers, to_corners

CHUNK = 2**18
"""Number of elements of one intermediate result, (objects, S, Q): it fits into the cache of a CPU and fills a GPU."""


class Comparison(NamedTuple):
    """Predictions of a batch and G of its objects; each object is compared with the predictions of its image."""

    scores: Tensor
    """Class logits, (S, B, Q, C)."""
    boxes: Tensor
    """Normalised (cx, cy, w, h), (S, B, Q, 4)."""
    labels: Tensor
    """Class of each object, (G,), int64."""
    corners: Tensor
    """Normalised (x1, y1, x2, y2), (G, 4)."""
    images: Tensor
    """Index of each object's image, (G,), int64."""
    areas: Tensor
    """Area of each object's image in square pixels, (G,)."""


def _per_object(values: Tensor, images: Tensor) -> Tensor:
    """Return (4, G, S, Q), the predictions of each object's image, of (S, B, Q, 4)."""
    return values.permute(3, 1, 0, 2).contiguous()[:, images]


def _columns(values: Tensor) -> Tensor:
    """Return (4, G, 1, 1) of (G, 4)."""
    return values.t()[:, :, None, None]


def _focal(cost: Any, comparison: Comparison) -> Tensor:
    """``FocalLossCost``."""

    def class_cost(logits: Tensor) -> Tensor:
        p = logits.sigmoid()
        positive = -(p + cost.eps).log() * cost.alpha * (1 - p).pow(cost.gamma)
        negative = -(1 - p + cost.eps).log() * (1 - cost.alpha) * p.pow(cost.gamma)
        return positive - negative

    table = comparison.scores.permute(1, 3, 0, 2)  # (B, C, S, Q)
    # The costs of all classes are worth computing only if most of them are used.
    if len(comparison.labels) < table.shape[0] * table.shape[1]:
        return class_cost(table[comparison.images, comparison.labels])
    return class_cost(table)[comparison.images, comparison.labels]


def _l1(cost: Any, comparison: Comparison) -> Tensor:
    """``BBoxL1Cost``."""
    boxes, truth = comparison.boxes, comparison.corners
    if cost.box_format == 'xywh':
        truth = to_centers(truth)
    else:
        boxes = to_corners(boxes)
    return (_per_object(boxes, comparison.images) - _columns(truth)).abs().sum(dim=0)


def _iou(cost: Any, comparison: Comparison) -> Tensor:
    """``IoUCost``; smaller unions are raised to 1e-6 square pixels, as in ``bbox_overlaps``."""
    boxes, truth = _per_object(to_corners(comparison.boxes), comparison.images), _columns(comparison.corners)
    tiny = (1e-6 / comparison.areas)[:, None, None]
    low, high = torch.maximum(boxes[:2], truth[:2]), torch.minimum(boxes[2:], truth[2:])
    overlap = (high - low).clamp(min=0).prod(dim=0)
    areas = [(box[2:] - box[:2]).prod(dim=0) for box in (boxes, truth)]
    union = torch.maximum(areas[0] + areas[1] - overlap, tiny)
    result = overlap / union
    if cost.iou_mode == 'giou':
        sides = torch.maximum(boxes[2:], truth[2:]) - torch.minimum(boxes[:2], truth[:2])
        hull = torch.maximum(sides.clamp(min=0).prod(dim=0), tiny)
        result = result - (hull - union) / hull
    return -result


_TERMS: dict[str, Callable[[Any, Comparison], Tensor]] = {'FocalLossCost': _focal, 'BBoxL1Cost': _l1, 'IoUCost': _iou}


def is_batched(cost: Any) -> bool:
    """Return whether :func:`batched_costs` can replace a cost object: one of MMDetection's classes, not a subclass.

    >>> is_batched(lambda pred_instances, gt_instances, img_meta: 0)
    False
    """
    cls = type(cost)
    if cls.__name__ not in _TERMS or not cls.__module__.startswith('mmdet.'):
        return False
    return not getattr(cost, 'binary_input', False) and getattr(cost, 'iou_mode', 'iou') in ('iou', 'giou')


def batched_costs(comparison: Comparison, costs: Sequence[Any]) -> Tensor:
    """Return the weighted sum of costs for which :func:`is_batched` holds.

    Args:
        comparison: Predictions and objects.
        costs: MMDetection's cost objects, at least one.

    Returns:
        Shape (G, S, Q).
    """
    sets, _, queries, _ = comparison.boxes.shape
    step = max(CHUNK // max(sets * queries, 1), 1)
    parts = []
    for objects in zip(*(part.split(step) for part in comparison[2:])):
        chunk = Comparison(*comparison[:2], *objects)
        terms = [_TERMS[type(cost).__name__](cost, chunk) * cost.weight for cost in costs]
        parts.append(terms[0] if len(terms) == 1 else torch.stack(terms).sum(dim=0))
    return torch.cat(parts)
