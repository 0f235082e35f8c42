"""Teacher that is the exponential moving average of the student (Mean Teacher, arXiv 1703.01780, section 2)."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..utils.checks import check_choice
from .base import BaseTeacher
from .begin import Begin
from .shared_average import SharedAverage
from .student_copy import ModelBuilder
from .tensor_slots import NetworkPair

OWN_SETTINGS: dict[str, float] = {'momentum': 2e-4, 'warmup': 0, 'interval': 1}
"""Defaults of the settings that only an average of the teacher's own has."""


@TASK_UTILS.register_module()
class EMATeacher(BaseTeacher):
    r"""Teacher whose weights are the average of the student's weights over its training steps.

    After update :math:`k = 0, 1, \dots` the teacher is
    :math:`\theta_t \leftarrow (1 - m_k)\,\theta_t + m_k\,\theta_s` with
    :math:`m_k = m + (1 - m)\,e^{-(k + 1) / \text{warmup}}`, the form of MMDetection's ``ExpMomentumEMA``. The teacher
    follows the student closely at first and slowly later. Floating-point buffers (BatchNorm statistics) are averaged as
    well; integer buffers are copied. An update follows an optimizer step, so ``accumulative_counts=4`` gives one update
    in four iterations.

    With ``share='EMAHook'`` the teacher is the average that MMEngine's ``EMAHook`` keeps in the same run. There is one
    copy of the weights, which ``EMAHook`` updates, evaluates and saves.

    Args:
        momentum: :math:`m`, the share of the student in each update.
        warmup: Time constant of the warm-up, in updates; 0 for a constant momentum.
        begin: Iteration (or epoch) at which the average begins, as a copy of the student. Before it, the teacher is not
            ready.
        interval: Optimizer steps between updates; ``momentum`` is that of one update.
        by_epoch: Whether ``begin`` counts epochs. In a loop of iterations an epoch is one pass over the data loader.
        share: ``'EMAHook'`` teaches with the average of the run's ``EMAHook``, ``None`` keeps an average of its own.
            The rule of a shared average is that of the hook, so ``momentum``, ``warmup`` and ``interval`` are refused.
        mode: See :class:`~kd_plugins.teachers.base.BaseTeacher`.
        key: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If ``momentum`` is outside (0, 1], a count is negative, or a setting has no effect on a shared
            average.
    """

    def __init__(
        self,
        momentum: float = 2e-4,
        warmup: int = 0,
        begin: int = 0,
        interval: int = 1,
        by_epoch: bool = False,
        share: str | None = None,
        mode: str = 'tensor',
        key: str = 'teacher',
    ) -> None:
        super().__init__(mode, key)
        if not 0 < momentum <= 1:
            raise ConfigError(f'{self.key}.momentum is {momentum}; it must be in (0, 1], for example 2e-4')
        for name, value, least in (('warmup', warmup, 0), ('interval', interval, 1)):
            if value < least:
                raise ConfigError(f'{self.key}.{name} is {value}; it must be at least {least}')
        if share is not None:
            check_choice(f'{self.key}.share', share, ('EMAHook',))
            given = {'momentum': momentum, 'warmup': warmup, 'interval': interval}
            for name, default in OWN_SETTINGS.items():
                if given[name] != default:
                    raise ConfigError(
                        f"{self.key}.{name} is {given[name]}, and share='EMAHook' teaches with the average of the "
                        f'EMAHook, which has settings of its own; remove {name} here and set it in custom_hooks'
                    )
        self.share = share
        self.average: SharedAverage | None = None
        """The average of ``EMAHook``; the hook sets it before :meth:`prepare` where ``share`` asks for it."""
        self.momentum = momentum
        self.warmup = warmup
        self.interval = interval
        self.begin = Begin(begin, by_epoch, key, 'the average')
        self.counts_epochs = by_epoch
        self.updates = 0
        self._steps = 0
        self._pair: NetworkPair | None = None

    @property
    def ready(self) -> bool:
        """Whether the average has begun."""
        return self.begin.reached

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

    def prepare(
        self, student: nn.Module, iteration: int = 0, epoch: int = 0, build_model: ModelBuilder | None = None
    ) -> None:
        """Copy the student or take the shared average, and begin if training begins at or after ``begin``."""
        if self.share is None:
            self._copy_of(student, build_model)
        elif self.average is None:
            raise ConfigError(f"{self.key}.share is 'EMAHook', and no DistillHook has found the EMAHook of the run")
        else:
            self.average.check_begin(self.begin.begin, self.begin.by_epoch, self.key)
            self._adopt(self.average.network(student, self.key))
        self._pair = None
        self.begin.prepare(iteration, epoch)

    def after_restart(self, student: nn.Module) -> None:
        """Begin with the new weights, and not with those of the finished model."""
        if self.ready:
            self._update(student, 1.0)

    def check_schedule(self, iteration: int, epoch_length: int, max_iters: int) -> None:
        """Refuse a run that ends before ``begin``."""
        self.begin.check(epoch_length, max_iters)

    def after_step(self, student: nn.Module, iteration: int) -> None:
        """Update the average, or begin it with a copy of the student."""
        if self.ready:
            self._steps += 1
            if self._steps % self.interval == 0:
                self._update(student, self.momentum_at(self.updates))
                self.updates += 1
        elif self.begin.after_step(iteration):
            self._update(student, 1.0)

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Begin with a copy of the student where ``begin`` counts epochs."""
        if self.begin.after_epoch(epoch):
            self._update(student, 1.0)

    def _update(self, student: nn.Module, momentum: float) -> None:
        if self.share is not None:
            return  # EMAHook updates its average
        if self._pair is None or self._pair.source is not student:
            self._pair = NetworkPair(self.model, student)
        self._pair.average(momentum)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the counts of optimizer steps and updates since the beginning.

        A shared average has no state here, because EMAHook saves it.
        """
        if self.share is not None:
            return {}
        counts = {'ready': self.ready, 'steps': self._steps, 'updates': self.updates}
        return {'model': self.model.state_dict(), **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the average."""
        if (self.share is None) != ('model' in state):
            saved = 'EMAHook' if self.share is None else None
            raise ConfigError(
                f'{self.key}.share is {self.share!r}, and in the resumed checkpoint it was {saved!r}; resume with '
                f'share={saved!r}, or start a new run with load_from'
            )
        if self.share is not None:
            return
        self.model.load_state_dict(state['model'])
        self.begin.reached, self._steps, self.updates = bool(state['ready']), int(state['steps']), int(state['updates'])
