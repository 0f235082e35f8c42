"""Drawing random numbers without disturbing those of the run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def forked_rng() -> Iterator[None]:
    """Restore the generators of Python, NumPy and PyTorch (CPU and accelerators) on leaving.

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
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
