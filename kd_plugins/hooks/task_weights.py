"""Factors of the task losses: one for all of them, or one for each loss key; numbers or schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, nearest
from ..schedules import Constant, GradientShare, WeightSchedule, build_schedule
from ..utils.checks import check_number
from ..utils.loss_dicts import ADDED

KEY = 'default_hooks.distill.task_weight'
ALL = '*'


class TaskWeights:
    """Factors of the task losses in each iteration.

    Cross-entropy is linear in its target. With the factor 1 - a on the task loss and the weight a on a distiller of
    class scores with temperature 1, a network learns from the mixed target (1 - a) y + a p, as in PS-KD
    (arXiv 2006.12000). Focal losses are not linear, because their factor depends on the target.

    Args:
        config: A number or schedule for all losses, or a dict of loss keys, with wildcards, to numbers or schedules.
            The longest pattern that matches a key counts; a loss that no pattern matches keeps the factor 1.

    Raises:
        ConfigError: If a factor is negative, no schedule, or one that follows gradients.
    """

    def __init__(self, config: Any) -> None:
        self.by_key = isinstance(config, Mapping) and 'type' not in config
        patterns = dict(config) if self.by_key else {ALL: config}
        if not patterns:
            raise ConfigError(f"{KEY} is {{}}; give a number, or a dict such as {{'loss_cls': 0.5}}")
        self.schedules = {pattern: self._schedule(pattern, one) for pattern, one in patterns.items()}
        self.factors = {pattern: one(0, 1) for pattern, one in self.schedules.items()}
        """Pattern to factor in the current iteration."""
        self._checked = False

    def _schedule(self, pattern: Any, factor: Any) -> WeightSchedule:
        if not isinstance(pattern, str) or not pattern:
            raise ConfigError(f"{KEY}: the loss key {pattern!r} is not a name; give for example {{'loss_cls': 0.5}}")
        where = f'{KEY}.{pattern}' if self.by_key else KEY
        if isinstance(factor, (int, float)) and not isinstance(factor, bool):
            return Constant(check_number(where, factor, positive=False))
        schedule = build_schedule(factor, where)
        if isinstance(schedule, GradientShare):
            raise ConfigError(f'{where} is a GradientShare, which is the weight of one distiller; use LinearDecay')
        return schedule

    @property
    def always_zero(self) -> bool:
        """Whether no task loss ever trains."""
        return all(isinstance(one, Constant) and one.value == 0 for one in self.schedules.values()) and (
            ALL in self.schedules
        )

    @property
    def by_config_key(self) -> dict[str, WeightSchedule]:
        """Config key to schedule."""
        return {f'{KEY}.{pattern}' if self.by_key else KEY: one for pattern, one in self.schedules.items()}

    def update(self, iteration: int, max_iters: int, length: int, position: int) -> None:
        """Look up the factors of an iteration.

        Args:
            iteration: 0-based iteration of the run.
            max_iters: Iterations of the run.
            length: Iterations of an epoch.
            position: Iteration for schedules that count epochs.
        """
        for pattern, one in self.schedules.items():
            self.factors[pattern] = one(position if one.by_epoch else iteration, max_iters, length)

    def __call__(self, key: str) -> float:
        """Return the factor of the loss with a key.

        >>> weights = TaskWeights({'loss_*': 0.5, 'loss_cls': 0.25})
        >>> [weights(key) for key in ('loss_cls', 'loss_bbox', 'd0.loss_cls')]
        [0.25, 0.5, 1.0]
        """
        matching = [pattern for pattern in self.factors if fnmatchcase(key, pattern)]
        return self.factors[max(matching, key=len)] if matching else 1.0

    def check_keys(self, keys: Iterable[str]) -> None:
        """Refuse a pattern that is the factor of no loss, once.

        Args:
            keys: Keys of what the model returned.

        Raises:
            ConfigError: Naming the pattern and the nearest keys.
        """
        if self._checked:
            return
        self._checked = True
        losses = [key for key in keys if ADDED in key]
        for pattern in self.schedules:
            if pattern != ALL and not any(fnmatchcase(key, pattern) for key in losses):
                raise ConfigError(f"{KEY}: '{pattern}' matches no loss of the model; {nearest(pattern, losses)}")

    def monitors(self) -> dict[str, Tensor]:
        """Return the factors that change in the run, for the log."""
        moving = [pattern for pattern, one in self.schedules.items() if not isinstance(one, Constant)]
        return {'all' if pattern == ALL else pattern: torch.tensor(self.factors[pattern]) for pattern in moving}
