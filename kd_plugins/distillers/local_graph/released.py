"""Weights of points in the released code of PointDistiller, which differ from the paper.

Read in the repository RunpeiDong/PointDistiller, commit a5dc465, mmdet3d/models/detectors: voxelnet.py
(``get_voxel_knn``, ``get_knn_voxel_backbone``), point_rcnn.py and mvx_two_stage.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...ops.reduction import to_float


@dataclass(frozen=True)
class Released:
    """Settings of the released code for one model.

    Attributes:
        importance: Importance by which the points are selected.
        temperature: Temperature of the softmax, None where the weights have no effect.
        merged: Whether all samples of a batch are one cloud, so that a point can have neighbours of another sample.
        times_batch: Whether the loss is multiplied by the number of samples.
    """

    importance: str
    temperature: float | None
    merged: bool = False
    times_batch: bool = False


RELEASED = {
    'pointpillars': Released('count', temperature=1e-2, merged=True),
    # Its softmax runs over a dimension of size 1, so that every weight is 1, and is then multiplied by the batch.
    'second': Released('max', temperature=None, times_batch=True),
    # The same softmax, multiplied by a dimension of size 1.
    'nuscenes': Released('max', temperature=None),
    # The weights are computed and not used.
    'point_rcnn': Released('max', temperature=None),
}
"""Name of the model to its settings in the released code."""


def released_weights(model: str, importance: Tensor, num_samples: int) -> Tensor:
    """Return the weights that the released code gives the selected points of a sample.

    Args:
        model: A key of :data:`RELEASED`.
        importance: Importance of the selected points, (..., N).
        num_samples: Number of samples in the batch of this rank.

    Returns:
        (..., N).

    >>> released_weights('second', torch.tensor([5.0, 1.0]), num_samples=4)
    tensor([2., 2.])
    >>> released_weights('pointpillars', torch.tensor([32.0, 32.0, 20.0]), num_samples=4)
    tensor([0.5000, 0.5000, 0.0000])
    """
    settings = RELEASED[model]
    importance = to_float(importance.detach())
    if settings.temperature is not None:
        return (importance / settings.temperature).softmax(dim=-1)
    factor = num_samples if settings.times_batch else 1
    return torch.full_like(importance, factor / max(importance.shape[-1], 1))
