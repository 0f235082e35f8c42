"""Time estimates for an installation and the demo, from the cores and the speed of this machine.

The constants are CPU seconds measured with GCC 12, torch 2.13.0 and MMCV 2.1.0 on the reference machine, a virtual
machine of two 2.1 GHz cores. Other machines are compared with it by the time that Python needs to compile a module.
"""

from __future__ import annotations

import argparse
import heapq
import os
import time
from collections.abc import Sequence
from pathlib import Path

REFERENCE = 9.2e-8
"""CPU seconds per character that ``compile()`` takes on the reference machine."""
MEGABYTES_PER_SECOND = 10.0
"""Assumed speed of the network."""
HEADER_SECONDS, FILE_SECONDS, BINDING_SECONDS = 7.0, 0.35, 25.0
"""Compiling MMCV: torch's headers, once per compiler call; each source file; the Python bindings."""
SETUP_SECONDS, PACKING_SECONDS = 6.0, 8.0
"""Compiling MMCV: reading its setup.py before the compiler starts; linking and packing the wheel."""
STEP_SECONDS, SERIAL_STEP_SECONDS = 0.19, 0.08
"""One training step of the demo: the part that threads share, and the part that they do not."""
DEMO_STEPS, DEMO_FIXED_SECONDS = 800, 45.0
"""Steps of a demo training; data, start, evaluations and pictures together."""


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def slowness() -> float:
    """Return the time that this machine takes for one second's work of the reference machine, between 0.25 and 8."""
    source = Path(argparse.__file__).read_text(encoding='utf-8')
    best = min(_compile_seconds(source) for _ in range(5))
    return min(max(best / len(source) / REFERENCE, 0.25), 8.0)


def _compile_seconds(source: str) -> float:
    start = time.process_time()
    compile(source, 'argparse.py', 'exec')
    return time.process_time() - start


def finish_times(costs: Sequence[float], jobs: int) -> list[float]:
    """Return when each of some tasks ends, sorted, if the next task starts as soon as one of the jobs is free.

    Args:
        costs: Seconds of each task, in the order in which they start.
        jobs: How many run at a time.

    >>> finish_times([4.0, 1.0, 2.0], jobs=2)
    [1.0, 3.0, 4.0]
    """
    free = [0.0] * max(jobs, 1)
    times = []
    for cost in costs:
        end = heapq.heappop(free) + cost
        times.append(end)
        heapq.heappush(free, end)
    return sorted(times)


def compile_cost(files: int, binding: bool) -> float:
    """Return the CPU seconds of one compiler call on the reference machine.

    Args:
        files: Source files of MMCV that it compiles together.
        binding: Whether the Python bindings are one of them.
    """
    return HEADER_SECONDS + FILE_SECONDS * files + BINDING_SECONDS * binding


def demo_seconds(cores: int, slowness: float) -> float:
    """Return how long the two trainings of the demo take, side by side."""
    step = SERIAL_STEP_SECONDS + STEP_SECONDS / min(max(1, cores // 2), 4)
    return slowness * (DEMO_FIXED_SECONDS + DEMO_STEPS * step) * (2 if cores == 1 else 1)


def duration(seconds: float) -> str:
    """Return a time in words, rounded up to ten seconds.

    >>> duration(75.0), duration(40.0)
    ('1 min 20 s', '40 s')
    """
    minutes, rest = divmod(10 * -(-int(seconds) // 10), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def announcement(parts: Sequence[tuple[str, float]], cores: int) -> str:
    """Return what takes how long, for a person who waits.

    Args:
        parts: What is done, and its seconds.
        cores: CPU cores of this machine.
    """
    total = duration(sum(seconds for _, seconds in parts))
    machine = f'{cores} CPU cores, downloads at {MEGABYTES_PER_SECOND:.0f} MB/s'
    head = f'This takes about {total} on this machine ({machine}):'
    width = max(len(title) for title, _ in parts)
    return '\n'.join([head, *(f'  {title:<{width}}  {duration(seconds):>11}' for title, seconds in parts)])
