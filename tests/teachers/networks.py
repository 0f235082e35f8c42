"""A small network that teachers copy, and changes of its weights."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from torch import nn

from kd_plugins.registry import MODELS


@MODELS.register_module(force=True)
class TinyNet(BaseModel):
    """A linear layer with BatchNorm, so that there are float and integer buffers."""

    def __init__(self, width: int = 3, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor)
        self.fc = nn.Linear(2, width)
        self.norm = nn.BatchNorm1d(width)

    def extract_feat(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.fc(inputs)

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        out = self.norm(self.extract_feat(inputs))
        return {'loss': out.mean()} if mode == 'loss' else out


def step(model: nn.Module) -> None:
    """Change every weight and buffer."""
    model.train()
    model(torch.randn(8, 2))
    with torch.no_grad():
        for param in model.parameters():
            param.add_(torch.randn_like(param))


def same(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two networks have identical weights and buffers."""
    pairs = zip(first.state_dict().values(), second.state_dict().values())
    return all(torch.equal(a, b) for a, b in pairs)
