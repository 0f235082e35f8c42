"""A module that takes weights without a version for those of an older release, as MMPose's ``DEKRHead`` does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Versioned(nn.Linear):
    """A linear layer whose rows were in the opposite order in version 1, with a scale as in MMCV's ``ConvAWS2d``."""

    _version = 2
    scale: Tensor

    def __init__(self, inputs: int = 2, outputs: int = 3) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer('scale', torch.ones(1))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *args: Any) -> None:
        if local_metadata.get('version', 1) < 2:
            for name in (f'{prefix}weight', f'{prefix}bias'):
                if name in state_dict:
                    state_dict[name] = state_dict[name].flip(0)
        self.scale.fill_(-1)  # what is left of it, where the weights bring none, is computed from them
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
