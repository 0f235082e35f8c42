"""Teacher that is the exponential moving average of the student (Mean Teacher, arXiv 1703.01780, section 2)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import TASK_UTILS
from .base import BaseTeacher, tensors_of


@TASK_UTILS.register_module()
class EMATeacher(BaseTeacher):
    r"""Teacher whose weights are the average of the student's weights over its training steps.

    After update :math:`k = 0, 1, \dots` the teacher is
    :math:`\theta_t \leftarrow (1 - m_k)\,\theta_t + m_k\,\theta_s` with
    :math:`m_k = m + (1 - m)\,e^{-(k + 1) / \text{warmup}}`, the form of MMDetection's ``ExpMomentumEMA``. The teacher
    follows the student closely at first and slowly later. Floating-point buffers (BatchNorm statistics) are averaged as
    well; integer buffers are copied.

    Args:
        momentum: :math:`m`, the share of the student in each update.
        warmup: Time constant of the warm-up, in updates; 0 for a constant momentum.
        begin: Iteration (or epoch) at which the average begins, as a copy of the student. Before it, the teacher is not
            ready.
        interval: Iterations between updates; ``momentum`` is that of one update.
        by_epoch: Whether ``begin`` counts epochs.
        mode: See :class:`~kd_plugins.teachers.base.BaseTeacher`.
        key: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If ``momentum`` is outside (0, 1] or a count is negative.
    """

    def __init__(
        self,
        momentum: float = 2e-4,
        warmup: int = 0,
        begin: int = 0,
        interval: int = 1,
        by_epoch: bool = False,
        mode: str = 'tensor',
        key: str = 'teacher',
    ) -> None:
        super().__init__(mode, key)
        if not 0 < momentum <= 1:
            raise ConfigError(f'{self.key}.momentum is {momentum}; it must be in (0, 1], for example 2e-4')
        for name, value, least in (('warmup', warmup, 0), ('begin', begin, 0), ('interval', interval, 1)):
            if value < least:
                raise ConfigError(f'{self.key}.{name} is {value}; it must be at least {least}')
        self.momentum = momentum
        self.warmup = warmup
        self.begin = begin
        self.interval = interval
        self.by_epoch = by_epoch
        self.updates = 0
        self._begun_at: int | None = None
        self._iterations = 0

    @property
    def ready(self) -> bool:
        """Whether the average has begun."""
        return self._begun_at is not None

    def momentum_at(self, update: int) -> float:
        """Return :math:`m_k` of update ``k``.

        >>> EMATeacher(momentum=0.1).momentum_at(0)
        0.1
        >>> round(EMATeacher(momentum=0.1, warmup=10).momentum_at(9), 3)
        0.431
        """
        if not self.warmup:
            return self.momentum
        return self.momentum + (1 - self.momentum) * math.exp(-(update + 1) / self.warmup)

    def prepare(self, student: nn.Module, iteration: int = 0, epoch: int = 0) -> None:
        """Copy the student, and begin the average if training begins at or after ``begin``."""
        self._copy_of(student)
        if (epoch if self.by_epoch else iteration) >= self.begin:
            self._begun_at = iteration

    def after_iter(self, student: nn.Module, iteration: int) -> None:
        """Update the average, or begin it with a copy of the student."""
        done = iteration + 1
        if self._begun_at is not None:
            if (done - self._begun_at) % self.interval == 0:
                self._update(student, self.momentum_at(self.updates))
                self.updates += 1
        elif not self.by_epoch and done == self.begin:
            self._start(student, done)
        self._iterations = done

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Begin with a copy of the student where ``begin`` counts epochs."""
        if self.by_epoch and self._begun_at is None and epoch + 1 == self.begin:
            self._start(student, self._iterations)

    def _start(self, student: nn.Module, iterations: int) -> None:
        self._update(student, 1.0)
        self._begun_at = iterations

    @torch.no_grad()
    def _update(self, student: nn.Module, momentum: float) -> None:
        current = tensors_of(student)
        averages: list[Tensor] = []
        targets: list[Tensor] = []
        for name, average in tensors_of(self.model).items():
            if momentum < 1 and average.is_floating_point():
                averages.append(average.detach())
                targets.append(current[name].detach())
            else:
                average.copy_(current[name])
        if averages:
            torch._foreach_lerp_(averages, targets, momentum)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the number of updates."""
        return {'model': self.model.state_dict(), 'updates': self.updates, 'begun_at': self._begun_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the average."""
        self.model.load_state_dict(state['model'])
        self.updates = state['updates']
        self._begun_at = state['begun_at']
