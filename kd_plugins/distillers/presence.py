"""Classes that are present in each image, from the labels of any task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .base import Batch

HEADS = ('bbox_head', 'roi_head', 'decode_head', 'head')
"""Paths of heads that know the number of classes."""


def class_count(student: nn.Module) -> int | None:
    """Return the number of classes of a model's head, None where it has none.

    Of a cascade of heads the last one counts.

    Args:
        student: A model of MMDetection, MMSegmentation or MMPretrain.
    """
    for path in HEADS:
        head: Any = getattr(student, path, None)
        head = getattr(head, 'bbox_head', head)
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        count = getattr(head, 'num_classes', None)
        if isinstance(count, int):
            return count
    return None


def _labels_of(sample: Any) -> Tensor | None:
    """Return all labels of an image in one dimension, None where it has none of any kind."""
    instances: Any = getattr(sample, 'gt_instances', None)
    if hasattr(instances, 'labels'):
        return torch.as_tensor(instances.labels).flatten()
    pixels = getattr(getattr(sample, 'gt_sem_seg', None), 'data', None)
    found = pixels if pixels is not None else getattr(sample, 'gt_label', None)
    return None if found is None else torch.as_tensor(found).flatten()


def present_classes(batch: Batch, num_classes: int, like: Tensor, key: str) -> Tensor:
    """Return 1 for each class that an image has, and 0 for the others.

    Args:
        batch: Its data samples hold ``gt_instances.labels``, ``gt_sem_seg.data`` or ``gt_label``. Labels that are not
            from 0 to C - 1 are left out.
        num_classes: C.
        like: A tensor with the dtype and device of the result.
        key: Config key of the distiller, for the error sentence.

    Returns:
        Shape (N, C).

    Raises:
        ConfigError: If an image has no such labels.

    >>> from types import SimpleNamespace
    >>> sample = SimpleNamespace(gt_instances=SimpleNamespace(labels=torch.tensor([2, 2, 0])))
    >>> present_classes(Batch(None, [sample]), 3, torch.zeros(1), 'distillers.x')
    tensor([[1., 0., 1.]])
    """
    rows = []
    for sample in batch.samples:
        labels = _labels_of(sample)
        if labels is None:
            break
        labels = labels.to(like.device).long()
        # The last entry takes what has no class.
        known = torch.where((labels >= 0) & (labels < num_classes), labels, num_classes)
        rows.append(like.new_zeros(num_classes + 1).index_fill(0, known, 1.0)[:-1])
    if len(rows) < len(batch.samples) or not batch.samples:
        raise ConfigError(
            f'{key} learns which classes an image has, and the batch has no gt_instances.labels, gt_sem_seg or '
            'gt_label; use it on labelled images of detectors, segmentors or classifiers'
        )
    return torch.stack(rows)
