"""RT-DETR with ResNet-18-vd at the size of a test: few queries, small generated images."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from tests.models.dfine.native import detectors
from tools.analysis.rtdetr_twins import ours


def small(seed: int = 0, **changes: Any) -> nn.Module:
    """Return a detector of 3 classes and 20 queries; see :func:`tests.models.dfine.native.detectors.small`."""
    return detectors.small(seed, partial(ours, 'r18vd'), **changes)
