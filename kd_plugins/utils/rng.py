"""Draw random numbers without changing those of the run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device

from .device import has_accelerator


def _forked_devices() -> dict[str, Any]:
    """Return the arguments of ``fork_rng`` for the accelerators of this machine."""
    device_type = get_device()
    if device_type == 'cuda' or not has_accelerator():
        return {'devices': range(torch.cuda.device_count())}
    # Older versions of PyTorch lack ``device_type``, which CUDA does not need.
    return {'devices': range(getattr(torch, device_type).device_count()), 'device_type': device_type}


@contextmanager
def forked_rng() -> Iterator[None]:
    """Restore the generators of Python, NumPy and PyTorch (CPU and accelerators) when the context ends.

    >>> _ = torch.manual_seed(0)
    >>> before = torch.rand(1)
    >>> _ = torch.manual_seed(0)
    >>> with forked_rng():
    ...     _ = torch.rand(10)
    >>> bool(torch.rand(1) == before)
    True
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(**_forked_devices()):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
