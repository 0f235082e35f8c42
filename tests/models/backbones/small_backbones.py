"""Small backbones and images for the tests of TimmBackbone."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

SMALL = 'test_efficientnet'
"""timm's own model for tests: 0.4 million parameters, five stages."""


def build(model: str = SMALL, **settings: Any) -> Any:
    return MODELS.build({'type': 'kd_plugins.TimmBackbone', 'model': model, **settings})


def images(*size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))
