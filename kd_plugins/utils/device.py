"""Devices that a run can use."""

from __future__ import annotations

from mmengine.device import get_device


def has_accelerator() -> bool:
    """Return whether there is a device for mixed precision and NCCL-like backends."""
    return get_device() not in ('cpu', 'mps')
