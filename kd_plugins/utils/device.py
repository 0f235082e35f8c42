"""Devices that a run can use."""

from __future__ import annotations

import torch
from mmengine.device import get_device


def has_accelerator() -> bool:
    """Return whether this machine has a device for mixed precision and for communication between devices."""
    return get_device() not in ('cpu', 'mps')


def synchronize() -> None:
    """Wait until the device of a run has finished its work, before a clock is read."""
    getattr(torch, get_device()).synchronize()
