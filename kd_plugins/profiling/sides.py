"""Time, free memory and differences of two implementations of one computation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def relative_difference(measured: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference divided by the norm of ``expected``.

    >>> relative_difference(torch.tensor([3.0, 0.0]), torch.tensor([2.0, 0.0]))
    0.5
    """
    measured, expected = measured.detach(), expected.detach()
    return float((measured - expected).norm() / expected.norm().clamp(min=1e-12))


def bytes_free(device: str) -> int | None:
    """Return the free memory of a device in bytes, or ``None`` where the system does not report it."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.mem_get_info(torch.device(device))[0]
    try:
        lines = Path('/proc/meminfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable')), None)


def seconds(action: Callable[[], Any], device: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Run a function once and return its time in seconds.

    Args:
        action: The function.
        device: Device of its computation; on a CUDA device, its work is finished before the clock is read.
        clock: ``time.process_time`` for work on one CPU thread, because other processes hardly change it.
    """
    cuda = torch.device(device).type == 'cuda'
    if cuda:
        torch.cuda.synchronize(device)
    start = clock()
    action()
    if cuda:
        torch.cuda.synchronize(device)
    return clock() - start


def in_turn(names: Sequence[str], repeats: int) -> Iterator[tuple[str, bool]]:
    """Yield each name ``repeats + 1`` times, with a flag that is False for the first run, which is a warm-up.

    The order alternates, because the second side finds warmer caches.

    >>> list(in_turn(['a', 'b'], 1))
    [('a', False), ('b', False), ('b', True), ('a', True)]
    """
    for index in range(-1, repeats):
        for name in names if index % 2 else list(names)[::-1]:
            yield name, index >= 0
