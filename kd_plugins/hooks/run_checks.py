"""Checks of a runner before its first iteration: its model, its data loader and its schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn

from ..distillers.base import BaseDistiller
from ..errors import ConfigError
from ..utils.checks import check_choice, check_flag
from .loop_epochs import epoch_length

SHARDING = ('FullyShard', 'DeepSpeed', 'ColossalAI', 'CollosalAI')
"""Parts of the names of wrappers that divide the parameters of a model between ranks."""
CHECKS = ('classes',)
"""Checks of the config that the hook runs and ``checks=dict(NAME=False)`` switches off."""
SAMPLES = 1000
"""Number of iterations at which :func:`check_schedules` looks."""


def student_of(runner: Any) -> nn.Module:
    """Return the model of a runner without its wrapper.

    Args:
        runner: The runner.

    Raises:
        ConfigError: If the model cannot be tapped: its parameters are sharded, or it is a semi-supervised detector.
    """
    model: Any = runner.model
    name = type(model).__name__
    sharded = any(part in name for part in SHARDING)
    if sharded or (is_model_wrapper(model) and not hasattr(model, 'module')):
        raise ConfigError(
            f"model_wrapper_cfg or strategy: the model is wrapped in '{name}', which has no single inner module with "
            "whole parameters to tap; nearest: 'MMDistributedDataParallel', 'DDPStrategy'"
        )
    student: nn.Module = model.module if is_model_wrapper(model) else model
    if any(cls.__name__ == 'SemiBaseDetector' for cls in type(student).__mro__):
        raise ConfigError(
            f"model.type is '{type(student).__name__}', a semi-supervised detector that trains on several branches of "
            'data at once, which distillers do not support; distill the detector alone: set model to its model.detector'
        )
    return student


def check_switches(checks: Any) -> dict[str, bool]:
    """Return which checks of the config run, from the config.

    Args:
        checks: Name of a check to whether it runs, or ``None`` for all.

    Raises:
        ConfigError: If a name is unknown or a value is not a flag.

    >>> check_switches({'classes': False})
    {'classes': False}
    """
    key = 'default_hooks.distill.checks'
    if checks is not None and not isinstance(checks, Mapping):
        raise ConfigError(f'{key} is {checks!r}; give a dict, for example dict(classes=False)')
    for name, value in (checks or {}).items():
        check_choice(f'a name in {key}', name, CHECKS)
        check_flag(f'{key}.{name}', value)
    return {**dict.fromkeys(CHECKS, True), **(checks or {})}


def check_schedules(runner: Any, distillers: Mapping[str, BaseDistiller]) -> None:
    """Warn of a distiller whose weight never rises above 0 in this run, although its value is above 0.

    Args:
        runner: The runner.
        distillers: Name to distiller.

    Raises:
        ConfigError: If a schedule counts epochs and the loader has no length.
    """
    length = epoch_length(runner)
    by_epoch = next((name for name, distiller in distillers.items() if distiller.schedule.by_epoch), None)
    if length is None and by_epoch is not None:
        raise ConfigError(
            f'distillers.{by_epoch}.weight.by_epoch is True, but train_dataloader has no length; use by_epoch=False'
        )
    length = length or 1
    steps = range(0, runner.max_iters, max(1, runner.max_iters // SAMPLES))
    for name, distiller in distillers.items():
        schedule = distiller.schedule
        if schedule.value > 0 and not any(schedule(step, runner.max_iters, length) > 0 for step in steps):
            unit = 'epoch' if schedule.by_epoch else 'iteration'
            runner.logger.warning(
                f'distillers.{name}.weight begins at {unit} {schedule.begin}, and the run has {runner.max_iters} '
                f'iterations ({length} in an epoch), so this distiller teaches nothing.'
            )
