"""Draw random numbers without changing those of the run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device


def _accelerator_states() -> tuple[Any, list[tuple[Any, ...]]]:
    """Return the setter of an accelerator's generators and its arguments: one state for each device.

    ``torch.random.fork_rng`` is not used: it needs an argument ``device_type`` that older versions of PyTorch lack, and
    a device index, which MPS has not.
    """
    device_type = get_device()
    if device_type == 'cpu':
        return None, []
    module = getattr(torch, device_type)
    if device_type == 'mps':
        return module.set_rng_state, [(module.get_rng_state(),)]
    indices = range(module.device_count())
    return module.set_rng_state, [(module.get_rng_state(index), index) for index in indices]


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
    python_state, numpy_state, cpu_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    set_state, accelerator_states = _accelerator_states()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(cpu_state)
        for arguments in accelerator_states:
            set_state(*arguments)


@contextmanager
def seeded_rng(seed: int) -> Iterator[None]:
    """Draw from seeded generators, those of accelerators included, and restore the generators of the run at the end.

    Args:
        seed: From 0 to 2^32 - 1.

    >>> with seeded_rng(1):
    ...     first = random.random()
    >>> with seeded_rng(1):
    ...     print(first == random.random())
    True
    """
    with forked_rng():
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield


def position_seed(seed: int, *place: int | str) -> int:
    """Return a hash of a seed and a place in the stream, from 0 to 2^32 - 1.

    Args:
        seed: Seed of the stream.
        place: Position of a sample, or name and number of another use of the seed.

    >>> position_seed(0, 7) == position_seed(0, 7), position_seed(0, 7) == position_seed(1, 7)
    (True, False)
    """
    return int.from_bytes(sha256(repr((int(seed), *place)).encode()).digest()[:4], 'little')
