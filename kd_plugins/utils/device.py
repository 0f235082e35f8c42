"""Devices that a run can use."""

from __future__ import annotations

import torch
from mmengine.device import get_device
from torch import nn


def has_accelerator() -> bool:
    """Return whether this machine has a device for mixed precision and for communication between devices."""
    return get_device() not in ('cpu', 'mps')


def synchronize() -> None:
    """Wait until the device of a run has finished its work, before a clock is read."""
    getattr(torch, get_device()).synchronize()


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network's parameters, the CPU where it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device('cpu'))


def full_precision(model: nn.Module) -> torch.autocast:
    """Return a context without autocast on the device of a network.

    Args:
        model: The network.

    >>> layer = nn.Linear(2, 2)
    >>> with torch.autocast('cpu', torch.bfloat16), full_precision(layer):
    ...     print(layer(torch.zeros(1, 2)).dtype)
    torch.float32
    """
    return torch.autocast(device_of(model).type, enabled=False)
