"""Conversion of a detector's predictions to ground truth: which instances are kept, their boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..errors import ConfigError
from ..ops.boxes import pairwise_iou


def clipped(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Return boxes inside an image.

    Args:
        boxes: Corners, shape (N, 4), in pixels.
        shape: Height and width of the image.

    >>> clipped(torch.tensor([[-1.0, 2.0, 30.0, 8.0]]), (10, 20))
    tensor([[ 0.,  2., 20.,  8.]])
    """
    height, width = shape[:2]
    limits = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limits)


def large_enough(boxes: Tensor, min_size: float) -> Tensor:
    """Return which boxes (N, 4) have both sides longer than ``min_size`` pixels.

    >>> large_enough(torch.tensor([[0.0, 0.0, 5.0, 5.0], [3.0, 3.0, 3.0, 9.0]]), 0.01)
    tensor([ True, False])
    """
    return (boxes[:, 2:] - boxes[:, :2] > min_size).all(dim=1)


def not_suppressed(boxes: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Return which boxes remain when those that overlap a better one of their class are left out.

    Args:
        boxes: Corners, shape (N, 4), from the best to the worst.
        labels: Classes, shape (N,).
        iou: Largest IoU with a better box.

    >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0], [0.0, 0.0, 4.0, 4.0]])
    >>> not_suppressed(boxes, torch.tensor([0, 0, 1]), 0.5)
    tensor([ True, False,  True])
    """
    overlaps = (pairwise_iou(boxes, boxes) > iou) & (labels[:, None] == labels)
    rows = overlaps.cpu()
    keep = torch.ones(len(boxes), dtype=torch.bool)
    for index in range(len(boxes)):
        if keep[index]:
            keep[index + 1 :] &= ~rows[index, index + 1 :]
    return keep.to(boxes.device)


def expected_count(scores: Tensor) -> int:
    """Return how many of the instances are right if scores are probabilities: their sum, rounded.

    >>> expected_count(torch.tensor([0.9, 0.8, 0.1]))
    2
    """
    return round(float(scores.double().sum()))


def candidates(
    instances: Any, shape: Sequence[int], min_size: float, iou: float | None, expected: bool, key: str
) -> InstanceData:
    """Return the predictions that may become labels, from the best score to the worst.

    Args:
        instances: Predictions of one image with ``bboxes``, ``scores``, ``labels`` and possibly ``masks``, in the
            coordinates of the network's input.
        shape: Height and width of the image in the network's input, without padding.
        min_size: Both sides of a box must be longer, in pixels.
        iou: Largest IoU with a better box of the class; ``None`` keeps all.
        expected: Whether only the :func:`expected_count` best ones are kept.
        key: Config key, for the error sentence.

    Raises:
        ConfigError: If the boxes are not given by four corners.
    """
    boxes = getattr(instances.bboxes, 'tensor', instances.bboxes).detach().float()
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ConfigError(
            f'{key}: the teacher predicts boxes of shape {tuple(boxes.shape)}, and pseudo labels are boxes (N, 4) of '
            'corners; nearest: pseudo=None with dense distillers'
        )
    scores, order = instances.scores.detach().sort(descending=True, stable=True)
    boxes, labels = clipped(boxes, shape)[order], instances.labels.detach()[order].long()
    keep = large_enough(boxes, min_size) & scores.isfinite()
    order, boxes, scores, labels = (value[keep] for value in (order, boxes, scores, labels))
    if iou is not None:
        keep = not_suppressed(boxes, labels, iou)
        order, boxes, scores, labels = (value[keep] for value in (order, boxes, scores, labels))
    if expected:
        count = expected_count(scores)
        order, boxes, scores, labels = (value[:count] for value in (order, boxes, scores, labels))
    found = InstanceData(bboxes=boxes, scores=scores, labels=labels)
    if 'masks' in instances:
        found.masks = instances.masks[order.to(instances.masks.device)]
    return found


def bitmap_masks(masks: Tensor, size: Sequence[int]) -> Any:
    """Return instance masks as MMDetection's ``BitmapMasks`` of the size of the network's input.

    A teacher gives masks of the size of the image. Areas beyond ``size`` are cut off, missing ones are background.

    Args:
        masks: Shape (N, h, w).
        size: Height and width of the padded input.
    """
    from mmdet.structures.mask import BitmapMasks

    height, width = (int(side) for side in size[:2])
    rows, columns = min(height, masks.shape[-2]), min(width, masks.shape[-1])
    canvas = torch.zeros(len(masks), height, width, dtype=torch.uint8)
    canvas[:, :rows, :columns] = masks[:, :rows, :columns].detach().cpu() > 0
    return BitmapMasks(canvas.numpy(), height, width)


def labelled_sample(sample: Any, found: InstanceData, with_masks: bool) -> Any:
    """Return a data sample with ground truth.

    Args:
        sample: Data sample of the image, which stays as it is.
        found: ``bboxes``, ``labels`` and possibly ``masks``.
        with_masks: Whether the ground truth has masks, also of an image without an instance.
    """
    made = type(sample)(metainfo=sample.metainfo)
    truth = InstanceData(bboxes=found.bboxes, labels=found.labels)
    if with_masks:
        size = sample.metainfo.get('batch_input_shape', sample.metainfo['img_shape'])
        truth.masks = bitmap_masks(found.get('masks', torch.zeros(len(found), 0, 0)), size)
    made.gt_instances = truth
    return made
