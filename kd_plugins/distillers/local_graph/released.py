"""How the released code of PointDistiller weighs its points, which is not what the paper says.

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
    """What the released code does for one model.

    Attributes:
        importance: What it selects the points by.
        temperature: The literal in its softmax, None where the weights have no effect.
        merged: Whether all samples of a batch are one cloud, so that neighbours cross samples.
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
"""Name of the model to what the released code does for it."""


def released_weights(model: str, importance: Tensor, num_samples: int) -> Tensor:
    """Return the weights of a sample's points as the released code has them.

    Args:
        model: A key of :data:`RELEASED`.
        importance: Of the selected points, (..., N).
        num_samples: Samples in this rank's batch.

    Returns:
        (..., N).

    >>> released_weights('second', torch.tensor([5.0, 1.0]), num_samples=4)
    tensor([2., 2.])
    >>> released_weights('pointpillars', torch.tensor([32.0, 32.0, 20.0]), num_samples=4)
    tensor([0.5000, 0.5000, 0.0000])
    """
    found = RELEASED[model]
    importance = to_float(importance.detach())
    if found.temperature is not None:
        return (importance / found.temperature).softmax(dim=-1)
    factor = num_samples if found.times_batch else 1
    return torch.full_like(importance, factor / max(importance.shape[-1], 1))
