"""RT-DETR with ResNet-18-vd at the size of a test: few queries, small generated images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.models.dfine.native.detectors import CLASSES
from tools.analysis.rtdetr_twins import ours


def small(seed: int = 0, **changes: Any) -> nn.Module:
    """Return a detector of 3 classes and 20 queries, initialized as a training does it, in training mode.

    Args:
        seed: Seed of the weights.
        changes: Values by their dotted keys below ``model``.
    """
    torch.manual_seed(seed)
    defaults = {'num_queries': 20, 'test_cfg.max_per_img': 10, 'dn_cfg.group_cfg.num_dn_queries': 10}
    model: nn.Module = ours('r18vd', CLASSES, **defaults | changes)
    model.init_weights()  # type: ignore[operator]
    return model.train()
