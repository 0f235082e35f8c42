"""Epochs of a training loop, also of a loop of iterations, and its optimizer steps."""

from __future__ import annotations

import math
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop

ENDLESS = ('MultiSourceSampler', 'GroupMultiSourceSampler')
"""Samplers of MMDetection without end, whose length is that of the whole data set on every rank."""


def is_iteration_loop(runner: Any) -> bool:
    """Return whether the loop counts iterations only; such a loop runs the hooks of one single epoch."""
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def epoch_length(runner: Any) -> int | None:
    """Return the iterations of an epoch, ``None`` where the data loader has no length.

    The sampler of a loop of iterations has the length of the whole data set, of which every rank takes its share.
    """
    loader = runner.train_dataloader
    try:
        length = len(loader)
    except TypeError:
        return None
    batch_sampler = getattr(loader, 'batch_sampler', None)
    sampler = getattr(batch_sampler, 'sampler', getattr(loader, 'sampler', None))
    # Besides the InfiniteSampler, MMDetection's samplers of several sources have no end.
    if isinstance(sampler, InfiniteSampler) or type(sampler).__name__ in ENDLESS:
        length = math.ceil(length / get_world_size())
    return max(1, length)


def current_epoch(runner: Any, length: int | None) -> int:
    """Return the number of finished epochs.

    Args:
        runner: The runner.
        length: Result of :func:`epoch_length`.
    """
    if not is_iteration_loop(runner):
        return int(runner.epoch)
    return int(runner.iter) // (length or 1)


def finished_epoch(runner: Any, length: int | None) -> int | None:
    """Return the 0-based epoch that ends with this iteration in a loop of iterations, else ``None``.

    A loop of epochs calls ``after_train_epoch`` instead.

    Args:
        runner: The runner.
        length: Result of :func:`epoch_length`.
    """
    if not is_iteration_loop(runner):
        return None
    if length is None or (runner.iter + 1) % length:
        return None
    return int(runner.iter) // length


class OptimizerSteps:
    """Optimizer steps of a run, which gradient accumulation postpones.

    Args:
        runner: The runner, before its first iteration.
    """

    def __init__(self, runner: Any) -> None:
        self._counts = [member._inner_count for member in _wrappers(runner)]

    def stepped(self, runner: Any) -> bool:
        """Return whether an optimizer has stepped in this iteration; called once at its end.

        With several optimizers, those count that had a backward pass in the iteration: another one may rest after a
        step. Where none had one of its wrapper, all count.

        Args:
            runner: The runner.
        """
        members = _wrappers(runner)
        counts = [member._inner_count for member in members]
        used = [member for member, now, before in zip(members, counts, self._counts) if now != before]
        self._counts = counts
        return not members or any(member.should_update() for member in used or members)


def _wrappers(runner: Any) -> list[OptimWrapper]:
    wrapper = runner.optim_wrapper
    members = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return [member for member in members if isinstance(member, OptimWrapper)]
