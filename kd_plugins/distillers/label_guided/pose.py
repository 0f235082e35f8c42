"""Objects of pose estimators: the joints of a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..base import Batch
from ..joint_labels import AXES, HEATMAPS, keypoint_weights, true_positions
from .objects import Objects, of_every_kind
from .task import GuidedTask, TaskSettings

DEVIATIONS = 2.0
"""Radius of a joint, in standard deviations of its training target."""


def target_deviations(codec: Any) -> tuple[float, float]:
    """Return the standard deviation of a codec's targets along x and y, relative to the input; 0 where it has none.

    Args:
        codec: A codec of MMPose with ``sigma`` in cells of its heatmaps or in bins of its SimCC targets.

    >>> from types import SimpleNamespace
    >>> target_deviations(SimpleNamespace(sigma=2, heatmap_size=(20, 40)))
    (0.1, 0.05)
    """
    sigma = getattr(codec, 'sigma', None)
    if hasattr(codec, 'heatmap_size'):
        sizes = [float(side) for side in codec.heatmap_size]
    else:
        ratio = float(getattr(codec, 'simcc_split_ratio', 1.0))
        sizes = [float(side) * ratio for side in getattr(codec, 'input_size', (1.0, 1.0))]
    if sigma is None:
        return 0.0, 0.0
    both = (
        [float(one) for one in sigma] if isinstance(sigma, (list, tuple)) or hasattr(sigma, '__len__') else [sigma] * 2
    )
    return float(both[0]) / sizes[0], float(both[1]) / sizes[1]


def cells_of_joints(positions: Tensor, radius: Sequence[float], grid: Sequence[int]) -> Tensor:
    """Return which cells of a map lie in the ellipse around each joint, or hold it.

    Args:
        positions: (x, y) from 0 to 1, (N, K, 2).
        radius: Half axes of the ellipse along x and y, relative to the input.
        grid: Height and width of the map.

    Returns:
        Booleans, (N, K, H, W).

    >>> cells_of_joints(torch.tensor([[[0.4, 0.5], [1.0, 0.5]]]), (0.3, 0.3), (1, 4)).int().tolist()
    [[[[1, 1, 1, 0]], [[0, 0, 0, 1]]]]
    """
    apart, own = [], []
    for axis, cells in enumerate((grid[1], grid[0])):
        index = torch.arange(cells, device=positions.device, dtype=positions.dtype)
        place = positions[..., axis, None]
        apart.append((((index + 0.5) / cells - place) / max(radius[axis], 1e-6)).square())
        own.append((place * cells).floor().clamp(0, cells - 1) == index)
    near = apart[0][..., None, :] + apart[1][..., :, None] <= 1.0
    return near | (own[0][..., None, :] & own[1][..., :, None])


class PoseTask(GuidedTask):
    """Top-down pose estimators of MMPose with heatmaps or SimCC: an object is a joint of the person.

    The descriptor has the position relative to the input, the weight of its label, and the joint as one of K. An object
    has the cells within two standard deviations of its training target, and the one that holds it. Joints without a
    label are left out.

    Args:
        student: The student.
        settings: Settings of the distiller.

    Raises:
        ConfigError: If a setting is of detectors alone.
    """

    def __init__(self, student: nn.Module, settings: TaskSettings) -> None:
        super().__init__(student, settings)
        settings.refuse_detection(student, 'pose estimator')
        head: Any = student.head
        self.num_joints = int(head.out_channels)
        self.read = len(head.in_channels) if isinstance(head.in_channels, (list, tuple)) else 1
        """Number of the last maps that the head reads."""
        self.targets = AXES if hasattr(head.decoder, 'simcc_split_ratio') else HEATMAPS
        self.radius = tuple(DEVIATIONS * one for one in target_deviations(head.decoder))

    @classmethod
    def fits(cls, student: nn.Module) -> bool:
        """Return whether the student has a head with a codec of heatmaps or of SimCC."""
        head: Any = getattr(student, 'head', None)
        codec = getattr(head, 'decoder', None)
        known = hasattr(codec, 'simcc_split_ratio') or hasattr(codec, 'heatmap_size')
        return known and hasattr(head, 'loss_module') and hasattr(head, 'in_channels')

    @property
    def descriptor_size(self) -> int:
        """Numbers in the descriptor of an object."""
        return 3 + self.num_joints

    def levels(self, count: int) -> Sequence[int]:
        """Return which of the student's maps its head reads, the last ones."""
        return range(max(0, count - self.read), count)

    def objects(self, batch: Batch, like: Tensor) -> Objects:
        """Return the objects of the ground truth, see :class:`GuidedTask`."""
        rows = like.new_zeros(batch.num_images, self.num_joints)
        reason = f'{self.settings.key}: LabelGuidedDistiller encodes the joints of persons'
        weights = keypoint_weights(batch, rows, reason, 'FeatureDistiller')
        positions = true_positions(batch, self.targets, rows, reason, 'FeatureDistiller').to(like)
        return of_every_kind(
            torch.cat([positions, weights.clamp(0, 1)[..., None]], dim=-1),
            weights > 0,
            lambda grid: cells_of_joints(positions, self.radius, grid),
            [0.5, 0.5, 1.0] if self.settings.context else None,
        )
