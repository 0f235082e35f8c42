"""Step time and peak memory of several runs in one process, their steps taken in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from ..hooks.observer import StepObserver
from ..runner.steps import batches, copy_batch, distill_hook, drive, train_step
from .memory import peak_bytes


@dataclass
class Cost:
    """What the steps of one run took.

    Attributes:
        seconds: One entry per measured step.
        processor_seconds: What the processor worked for each: what a busy machine changes less, and CUDA hides.
        peak_bytes: The most bytes that its tensors took during a step.
    """

    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0


def median_ratio(ours: Sequence[float], base: Sequence[float]) -> float:
    """Return the median ratio of neighbouring steps.

    >>> median_ratio([1.2, 9.0, 1.2], [1.0, 6.0, 1.0])
    1.2
    """
    return statistics.median(a / b for a, b in zip(ours, base))


def timed_step(runner: Any, index: int, batch: Any) -> float:
    """Run one step on a copy of the batch and return its seconds."""
    mine = copy_batch(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    train_step(runner, index, mine)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleave(runners: Mapping[str, Any], steps: int, warmup: int) -> dict[str, Cost]:
    """Train several runs on the same batches, step by step in turn, so that whatever else the machine does meets all.

    Every distiller runs in every step, even where its schedule starts later. A step is forward, backward, optimizer and
    all hooks, without data loading.

    Args:
        runners: Name to a runner whose ``train()`` was not called yet; the first gives the batches.
        steps: Measured steps of each.
        warmup: Steps of each before that.
    """
    costs = {name: Cost() for name in runners}
    for runner in runners.values():
        hook = distill_hook(runner)
        if hook is not None:
            hook.subscribe(StepObserver(runs_all=True))

    def body() -> None:
        shared = batches(next(iter(runners.values())), 4)
        for index in range(warmup + steps):
            # The order alternates: whoever goes second finds warmer caches.
            for name in list(runners) if index % 2 == 0 else list(runners)[::-1]:
                begin = time.process_time()
                seconds = timed_step(runners[name], index, shared[index % len(shared)])
                if index >= warmup:
                    costs[name].seconds.append(seconds)
                    costs[name].processor_seconds.append(time.process_time() - begin)
        for name, runner in runners.items():
            # One step of counting takes several times as long as a plain one, so it is not timed.
            step = partial(train_step, runner, warmup + steps, copy_batch(shared[0]))
            costs[name].peak_bytes = peak_bytes(runner, step)

    def enter(waiting: list[Any]) -> None:
        drive(waiting[0], partial(enter, waiting[1:])) if waiting else body()

    enter(list(runners.values()))
    return costs
