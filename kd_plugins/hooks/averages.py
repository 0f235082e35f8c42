"""Find the average of the weights that MMEngine's ``EMAHook`` keeps in a run, and check that it forgets the start."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseAveragedModel
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import ConfigError
from ..teachers.shared_average import ALONE, SharedAverage
from ..teachers.tensor_slots import NetworkPair
from .loop_epochs import epoch_length, is_iteration_loop

LEAST_DECAY = 3.0
"""Least sum of the momentum over a run: exp(-3), 5 %, of the first weights are left in the average at its end."""
GOOD_DECAY = 10.0
"""Sum of the momentum that is advised: less than 0.01 % of the first weights are left."""


def run_average(runner: Any, key: str, length: int | None) -> SharedAverage:
    """Return the average of the run's ``EMAHook``, which the hook has made in ``before_run``.

    Args:
        runner: MMEngine's runner.
        key: Config key of the teacher, for error sentences.
        length: Iterations of an epoch, ``None`` where the loader has no length.

    Raises:
        ConfigError: If the run does not have exactly one ``EMAHook``.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    if len(hooks) != 1:
        example = "custom_hooks=[dict(type='EMAHook', momentum=2e-4, update_buffers=True)]"
        raise ConfigError(
            f"{key}.share is 'EMAHook', and the run has {len(hooks) or 'no'} EMAHook{'s' if hooks else ''}; nearest: "
            f'{example}'
        )
    hook = hooks[0]
    averaged = getattr(hook, 'ema_model', None)
    if averaged is None:
        raise ConfigError(f"{key}.share is 'EMAHook', and {type(hook).__name__} has made no average; {ALONE}")
    if not averaged.update_buffers and any(isinstance(module, _BatchNorm) for module in averaged.module.modules()):
        runner.logger.warning(
            f'{key}: EMAHook averages the weights and copies the statistics of BatchNorm from the student; '
            'update_buffers=True averages both.'
        )
    return SharedAverage(averaged, _begin(hook, runner, length or 1), length or 1)


def _begin(hook: EMAHook, runner: Any, length: int) -> int:
    """Return the iteration at which the average begins; ``begin_epoch`` of EMAHook counts from 1."""
    if not hook.enabled_by_epoch:
        return int(hook.begin_iter)
    # A loop of iterations is one epoch for MMEngine.
    return 0 if is_iteration_loop(runner) else (int(hook.begin_epoch) - 1) * length


def start_decay(averaged: BaseAveragedModel, updates: int, samples: int = 1000) -> float:
    r"""Return :math:`-\sum_t \ln(1 - m_t)` of an average: exp of its negative is what is left of the first weights.

    :math:`m_t` is the share of the new weights in update t. With a constant momentum m, this is about
    ``updates * m``. Where the share of the new weights reaches 1, nothing is left, and the sum is infinite.

    Args:
        averaged: The averaged model; its own ``avg_func`` is asked, whichever class it is.
        updates: Number of updates of the run; the first one copies the weights.
        samples: Largest number of updates that are asked; between them, the sum is interpolated.
    """
    if updates < 2:
        return 0.0
    steps = np.unique(np.geomspace(1, updates - 1, samples).round().astype(int))
    rates = []
    for step in steps.tolist():
        left = torch.ones((), dtype=torch.float64)
        averaged.avg_func(left, torch.zeros_like(left), torch.tensor(step * averaged.interval))  # type: ignore[arg-type]
        rates.append(-math.log(float(left)) if float(left) > 0 else math.inf)
    if math.inf in rates:
        return math.inf
    return float(np.interp(np.arange(1, updates), steps, rates).sum())


def slow_averages(runner: Any) -> Iterator[str]:
    """Yield a sentence for each ``EMAHook`` whose average hardly leaves the weights of the start in this run.

    A part that is new, such as the head of a detector for other classes, then predicts nothing in each validation,
    which measures the average, while the training loss falls.

    Args:
        runner: The runner, after ``before_train``.
    """
    for hook in runner.hooks:
        if not isinstance(hook, EMAHook):
            continue
        averaged = hook.ema_model
        updates = (runner.max_iters - _begin(hook, runner, epoch_length(runner) or 1)) // averaged.interval
        decay = start_decay(averaged, updates)
        if decay >= LEAST_DECAY:
            continue
        name = type(hook).__name__
        momentum = getattr(averaged, 'momentum', None)
        setting = f'{name}.momentum is {momentum:g}' if momentum is not None else f'{name} averages slowly'
        yield (
            f'{setting} and the run has {updates} updates of the average, which still holds {math.exp(-decay):.0%} of '
            f'the first weights at the end, so validations measure hardly trained weights; nearest: '
            f"momentum={min(GOOD_DECAY / max(updates, 1), 0.5):.2g}, or type='kd_plugins.FittedEMAHook'"
        )


def restart_averages(runner: Any, student: nn.Module) -> None:
    """Let every average of an ``EMAHook`` begin anew with the student, of which parts have got new weights.

    Otherwise the average would hold, and teach with ``share='EMAHook'``, the parts that are gone.

    Args:
        runner: The runner, in ``before_train``.
        student: Its model, without wrapper.
    """
    for hook in runner.hooks:
        averaged = getattr(hook, 'ema_model', None) if isinstance(hook, EMAHook) else None
        if averaged is not None:
            NetworkPair(averaged.module, student).copy()
            averaged.steps.zero_()


class AverageCheck(Hook):
    """Warn before the first step of an average that hardly leaves the weights of the start."""

    priority = 'LOWEST'

    def before_train(self, runner: Any) -> None:
        """Write the sentences of :func:`slow_averages` to the log."""
        for sentence in slow_averages(runner):
            runner.logger.warning(f'{sentence}.')
