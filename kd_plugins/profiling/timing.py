"""Step time and peak memory of several runs in one process, whose steps alternate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..hooks.observer import StepObserver
from ..runner.steps import batches, copy_batch, distill_hook, drive, train_step
from ..utils.device import synchronize
from .memory import peak_bytes


@dataclass
class Cost:
    """Time and memory of the steps of one run.

    Attributes:
        seconds: Wall-clock time of each measured step.
        processor_seconds: CPU time of each measured step. Other work on the machine changes it less; it does not
            include the time of an accelerator.
        peak_bytes: Largest number of bytes that the tensors of the run took during a step.
    """

    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0


def median_ratio(measured: Sequence[float], base: Sequence[float]) -> float:
    """Return the median of the ratios of steps that were taken one after the other.

    >>> median_ratio([1.2, 9.0, 1.2], [1.0, 6.0, 1.0])
    1.2
    """
    return statistics.median(a / b for a, b in zip(measured, base))


def timed_step(runner: Any, index: int, batch: Any) -> float:
    """Run one step on a copy of the batch and return its wall-clock time in seconds."""
    batch = copy_batch(batch)
    synchronize()
    start = time.perf_counter()
    train_step(runner, index, batch)
    synchronize()
    return time.perf_counter() - start


def interleave(runners: Mapping[str, Any], steps: int, warmup: int) -> dict[str, Cost]:
    """Train several runs on the same batches, one step of each in turn, and measure their steps.

    Because the steps alternate, other work on the machine slows all runs alike. Every distiller runs in every step,
    even where its schedule starts later. A step is forward, backward, optimizer and all hooks, without data loading.

    Args:
        runners: Name to a runner whose ``train()`` has not been called yet; the batches come from the first.
        steps: Number of measured steps of each run.
        warmup: Number of steps of each run before these.
    """
    costs = {name: Cost() for name in runners}
    for runner in runners.values():
        hook = distill_hook(runner)
        if hook is not None:
            hook.subscribe(StepObserver(runs_all=True))

    def body() -> None:
        shared = batches(next(iter(runners.values())), 4)
        for index in range(warmup + steps):
            # The order alternates, because the second run finds warmer caches.
            for name in list(runners) if index % 2 == 0 else list(runners)[::-1]:
                begin = time.process_time()
                seconds = timed_step(runners[name], index, shared[index % len(shared)])
                if index >= warmup:
                    costs[name].seconds.append(seconds)
                    costs[name].processor_seconds.append(time.process_time() - begin)
        for name, runner in runners.items():
            # Counting memory makes a step several times slower, so this step is not timed.
            step = partial(train_step, runner, warmup + steps, copy_batch(shared[0]))
            costs[name].peak_bytes = peak_bytes(runner, step)

    def enter(remaining: list[Any]) -> None:
        """Set up the runs one inside the other, then run the body."""
        drive(remaining[0], partial(enter, remaining[1:])) if remaining else body()

    enter(list(runners.values()))
    return costs
