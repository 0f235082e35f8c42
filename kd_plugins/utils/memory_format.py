"""Memory format of the weights of convolutions, which is also that of their outputs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def set_channels_last(model: nn.Module, enabled: bool = True) -> None:
    """Store the weights of 2-D and 3-D convolutions in PyTorch's channels-last order, or in the usual one.

    Parameters stay the same objects.

    Args:
        model: The network; changed in place.
        enabled: Whether the channels are last.

    >>> layer = nn.Conv2d(2, 4, 3)
    >>> set_channels_last(layer)
    >>> layer.weight.is_contiguous(), layer.weight.is_contiguous(memory_format=torch.channels_last)
    (False, True)
    """
    for module in model.modules():
        if isinstance(module, _ConvNd) and module.weight.dim() in _CHANNELS_LAST:
            weight = module.weight
            memory_format = _CHANNELS_LAST[weight.dim()] if enabled else torch.contiguous_format
            weight.data = weight.data.contiguous(memory_format=memory_format)
