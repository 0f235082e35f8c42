"""Labels of joints in data samples: their weights, and positions in the training targets of a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from .base import Batch

HEATMAPS = ('heatmaps',)
"""Targets of heatmap heads in ``gt_fields``."""
AXES = ('keypoint_x_labels', 'keypoint_y_labels')
"""Targets of SimCC heads in ``gt_instance_labels``."""


def peak_positions(targets: Sequence[Tensor]) -> Tensor:
    """Return the positions of the peaks of heatmaps, or of the distributions along x and y.

    Args:
        targets: One tensor of shape (N, K, H, W), or two of shape (N, K, bins).

    Returns:
        Centres of the pixels or bins, (x, y) in [0, 1], shape (N, K, 2).

    >>> peak_positions([torch.tensor([[[0.0, 9.0]]]), torch.tensor([[[9.0, 0.0, 0.0, 0.0]]])])
    tensor([[[0.7500, 0.1250]]])
    """
    if len(targets) == 1:
        places, (height, width) = targets[0].flatten(2).argmax(dim=-1), targets[0].shape[2:]
        indices, sizes = [places % width, places.div(width, rounding_mode='floor')], [width, height]
    else:
        indices, sizes = [axis.argmax(dim=-1) for axis in targets], [axis.shape[-1] for axis in targets]
    return torch.stack([(index + 0.5) / size for index, size in zip(indices, sizes)], dim=-1)


def true_positions(batch: Batch, labels: Sequence[str], like: Tensor, reason: str, others: str) -> Tensor:
    """Return the positions of the joints in the training targets.

    Args:
        batch: Data samples with one row of targets per person. Of several levels of heatmaps the last one counts.
        labels: :data:`HEATMAPS` or :data:`AXES`.
        like: A tensor whose first two dimensions are N and K, on the device of the result.
        reason: Config key and value that asks for them, for the error sentence.
        others: Nearest valid choice, for the error sentence.

    Returns:
        (x, y) in [0, 1], shape (N, K, 2).

    Raises:
        ConfigError: If the data samples have no such targets.
    """
    group = 'gt_fields' if labels == HEATMAPS else 'gt_instance_labels'
    targets = []
    for name in labels:
        rows = [getattr(getattr(sample, group, None), name, None) for sample in batch.samples]
        rows = [row[-1] if isinstance(row, (list, tuple)) else row for row in rows]
        rows = [row[None] if row is not None and group == 'gt_fields' else row for row in rows]
        shape = '({}, {}, ...)'.format(*like.shape[:2])
        sentence = f'{reason}, and the data samples give no {group}.{name} of shape {shape}'
        targets.append(_joined(rows, like, sentence, others))
    return peak_positions(targets) if len(like) else like.new_zeros(*like.shape[:2], 2)


def keypoint_weights(batch: Batch, like: Tensor, reason: str, others: str) -> Tensor:
    """Return the label weight of each joint.

    Args:
        batch: Each data sample holds one row of weights per person, or (levels, 1, K) for a multi-stage head and one
            person. Then the largest weight over the levels counts.
        like: A tensor whose first two dimensions are N and K, on the device of the result.
        reason: Config key and value that asks for them, for the error sentence.
        others: Nearest valid choice, for the error sentence.

    Returns:
        Shape (N, K).

    Raises:
        ConfigError: If the data samples have no such weights.
    """
    rows = []
    for sample in batch.samples:
        row = getattr(getattr(sample, 'gt_instance_labels', None), 'keypoint_weights', None)
        rows.append(row.flatten(0, 1).amax(dim=0, keepdim=True) if row is not None and row.ndim == 3 else row)
    shape = tuple(like.shape[:2])
    sentence = f'{reason}, and the data samples give no gt_instance_labels.keypoint_weights of shape {shape}'
    return _joined(rows, like, sentence, others).to(like)


def _joined(rows: Sequence[Any], like: Tensor, sentence: str, others: str) -> Tensor:
    """Return one tensor of all rows, whose first two dimensions are those of ``like``."""
    known = [row.to(like.device) for row in rows if row is not None]
    fits = all(row.shape[1:] == known[0].shape[1:] for row in known)
    joined = torch.cat(known) if known and fits else like.new_zeros(0, like.shape[1])
    if joined.shape[:2] != like.shape[:2]:
        raise ConfigError(f'{sentence}; use {others}, or a pipeline with GenerateTarget')
    return joined
