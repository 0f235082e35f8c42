"""Weight schedules: the factor on the losses of a distiller at each iteration.

All distillers use the same schedules. A schedule is a pure function of the iteration, so it has no state to save, and a
resumed run continues exactly. ``begin`` and ``end`` count iterations, or epochs with ``by_epoch=True``.
:class:`GradientShare` alone has a state, which the hook saves: it follows the gradients of the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .errors import ConfigError
from .registry import TASK_UTILS
from .utils.build import build
from .utils.checks import check_integer, check_number


class WeightSchedule:
    """Base class of all schedules. It converts ``begin`` and ``end`` to iterations and asks :meth:`at` for the weight.

    Args:
        value: The full weight.
        begin: First iteration (or epoch) of the schedule.
        end: Iteration (or epoch) at which the schedule ends; ``None`` for the end of training.
        by_epoch: Whether ``begin`` and ``end`` count epochs.
        key: Config key of the schedule, for error sentences.

    Raises:
        ConfigError: If a number is negative or not finite, or ``end`` does not come after ``begin``.
    """

    def __init__(
        self,
        value: float,
        begin: float = 0,
        end: float | None = None,
        by_epoch: bool = False,
        key: str = 'weight',
    ) -> None:
        name = type(self).__name__
        check_number(f"{key}: '{name}.value'", value, positive=False)
        check_number(f"{key}: '{name}.begin'", begin, positive=False, example=0)
        if end is not None and check_number(f"{key}: '{name}.end'", end, positive=False) <= begin:
            raise ConfigError(
                f"{key}: '{name}' runs from begin={begin} to end={end}; end must come after begin, "
                f'for example end={begin + 1}'
            )
        self.value = float(value)
        self.begin = begin
        self.end = end
        self.by_epoch = by_epoch

    def __call__(self, iteration: int, max_iters: int, epoch_length: int = 1) -> float:
        """Return the weight of one iteration.

        Args:
            iteration: 0-based iteration of the whole run.
            max_iters: Number of iterations of the whole run.
            epoch_length: Iterations of one epoch, used where ``by_epoch=True``.
        """
        scale = epoch_length if self.by_epoch else 1
        begin = self.begin * scale
        end = max_iters if self.end is None else self.end * scale
        progress = (iteration - begin) / max(end - begin, 1)
        return self.at(progress)

    def at(self, progress: float) -> float:
        """Return the weight at ``progress``: 0 at ``begin``, 1 at ``end``, outside [0, 1] before and after."""
        raise NotImplementedError(f'{type(self).__name__} must define at(progress)')


@TASK_UTILS.register_module()
class Constant(WeightSchedule):
    """``value`` from ``begin`` on, 0 before.

    >>> [Constant(2.0, begin=1)(i, 10) for i in range(3)]
    [0.0, 2.0, 2.0]
    """

    def __init__(self, value: float, begin: float = 0, by_epoch: bool = False, key: str = 'weight') -> None:
        super().__init__(value, begin, None, by_epoch, key)

    def __call__(self, iteration: int, max_iters: int, epoch_length: int = 1) -> float:
        """Return the weight of one iteration, see :meth:`WeightSchedule.__call__`."""
        scale = epoch_length if self.by_epoch else 1
        return self.value if iteration >= self.begin * scale else 0.0


@TASK_UTILS.register_module()
class LinearWarmup(WeightSchedule):
    """Rises linearly from 0 at ``begin`` to ``value`` at ``end``, then stays constant.

    >>> [LinearWarmup(1.0, end=4)(i, 10) for i in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """

    def at(self, progress: float) -> float:
        """Return ``value * clamp(progress, 0, 1)``."""
        return self.value * min(max(progress, 0.0), 1.0)


@TASK_UTILS.register_module()
class LinearDecay(WeightSchedule):
    """``value`` until ``begin``, then linearly to ``end_value`` at ``end`` (DWPose, section 3.2, decays to 0).

    Raises:
        ConfigError: If ``end_value`` is negative or not finite, or above 0 where ``value`` is 0.

    >>> [LinearDecay(1.0, end=4)(i, 10) for i in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """

    def __init__(
        self,
        value: float,
        begin: float = 0,
        end: float | None = None,
        end_value: float = 0.0,
        by_epoch: bool = False,
        key: str = 'weight',
    ) -> None:
        super().__init__(value, begin, end, by_epoch, key)
        name = type(self).__name__
        check_number(f"{key}: '{name}.end_value'", end_value, positive=False, example=0.0)
        if value == 0 and end_value > 0:
            # A value of 0 switches a distiller off.
            raise ConfigError(
                f"{key}: '{name}' goes from value=0 to end_value={end_value}; for a weight that rises use "
                f"type='kd_plugins.LinearWarmup', value={end_value}"
            )
        self.end_value = float(end_value)

    def at(self, progress: float) -> float:
        """Return the straight line from ``value`` to ``end_value``."""
        return self.value + (self.end_value - self.value) * min(max(progress, 0.0), 1.0)


@TASK_UTILS.register_module()
class Cosine(LinearDecay):
    """``value`` until ``begin``, then half a cosine wave to ``end_value`` at ``end``.

    >>> [round(Cosine(1.0, end=4)(i, 10), 3) for i in (0, 2, 4, 9)]
    [1.0, 0.5, 0.0, 0.0]
    """

    def at(self, progress: float) -> float:
        """Return the half cosine from ``value`` to ``end_value``."""
        wave = 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
        return self.end_value + (self.value - self.end_value) * wave


@TASK_UTILS.register_module()
class Step(WeightSchedule):
    """``value`` times ``gamma`` for every milestone that has been reached.

    Raises:
        ConfigError: If ``gamma`` or a milestone is negative or not finite, or the milestones are not in order.

    >>> [Step(1.0, milestones=[2, 4], gamma=0.5)(i, 10) for i in (0, 2, 3, 4)]
    [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        value: float,
        milestones: Sequence[float],
        gamma: float = 0.1,
        by_epoch: bool = False,
        key: str = 'weight',
    ) -> None:
        super().__init__(value, 0, None, by_epoch, key)
        for index, milestone in enumerate(milestones):
            check_number(f"{key}: 'Step.milestones[{index}]'", milestone, positive=False, example=8)
        if list(milestones) != sorted(milestones):
            raise ConfigError(f"{key}: 'Step.milestones' is {list(milestones)}; use {sorted(milestones)}")
        check_number(f"{key}: 'Step.gamma'", gamma, positive=False, example=0.1)
        self.milestones = list(milestones)
        self.gamma = float(gamma)

    def __call__(self, iteration: int, max_iters: int, epoch_length: int = 1) -> float:
        """Return the weight of one iteration, see :meth:`WeightSchedule.__call__`."""
        scale = epoch_length if self.by_epoch else 1
        reached = sum(iteration >= milestone * scale for milestone in self.milestones)
        return self.value * self.gamma**reached


@TASK_UTILS.register_module()
class Stop(WeightSchedule):
    """``value`` from ``begin`` to ``end``, 0 outside, for example for no distillation in the last epochs.

    >>> [Stop(1.0, end=2)(i, 10) for i in range(4)]
    [1.0, 1.0, 0.0, 0.0]
    """

    def at(self, progress: float) -> float:
        """Return ``value`` inside [0, 1), 0 outside."""
        return self.value if 0.0 <= progress < 1.0 else 0.0


def steered_weight(weight: float, share: float, target: float, band: float) -> float:
    r"""Return the weight that brings the share of a gradient back into a band (RT-DETRv4, arXiv 2510.25257).

    .. math:: w' = w \cdot \mathrm{clamp}\left(\frac{p^*(1 - p)}{p(1 - p^*)},\ 0.1,\ 10\right)

    With :math:`p = w d / (w d + t)` of two gradients whose norms are :math:`w d` and :math:`t`, the new share is
    exactly :math:`p^*`. As in the release, :math:`p^*` is the far edge of the band: target + band where the share
    is too small, target - band where it is too large.

    Args:
        weight: Weight now.
        share: Share p of the gradient, in (0, 1).
        target: Middle of the band.
        band: Half the width of the band, in which the weight stays.

    >>> round(steered_weight(5.0, 0.08, 0.11, 0.01), 2), steered_weight(5.0, 0.115, 0.11, 0.01)
    (7.84, 5.0)
    """
    if abs(share - target) <= band:
        return weight
    wanted = target + band if share < target else target - band
    return weight * min(max(wanted * (1 - share) / (share * (1 - wanted)), 0.1), 10.0)


@TASK_UTILS.register_module()
class GradientShare(WeightSchedule):
    """A weight that keeps the share of the distiller's gradient in a band (RT-DETRv4, arXiv 2510.25257).

    The share is :math:`p = d / (d + t)` with the norms d of the gradient of the distiller's weighted losses and t of
    the gradient of the task losses, both at the outputs of the student that the distiller taps, over all ranks. It is
    measured in every ``interval``-th iteration. After ``average`` measurements their mean decides about the weight, see
    :func:`steered_weight`. The weight and the measurements since the last decision are in ``checkpoint['distill']``.

    Args:
        value: Weight at the start.
        target: Wanted share.
        band: Half the width of the band around ``target``, in which the weight stays.
        begin: First iteration of the distiller; before it, the weight is 0.
        hold: Iterations from ``begin`` on in which the weight stays at ``value``. A new head passes almost no gradient
            on to the layers before it, so a share that is measured at once pushes the weight towards 0.
        interval: Iterations between two measurements. Each costs a backward pass from the losses to the taps.
        average: Measurements for one decision.
        key: Config key of the schedule, for error sentences.

    Raises:
        ConfigError: If a setting does not fit.

    >>> schedule = GradientShare(5.0, begin=2, average=2)
    >>> schedule.observe(0.07), schedule.observe(0.09), round(schedule(2, 10), 2)
    (None, None, 7.84)
    """

    def __init__(
        self,
        value: float,
        target: float = 0.11,
        band: float = 0.01,
        begin: int = 0,
        hold: int = 500,
        interval: int = 50,
        average: int = 10,
        key: str = 'weight',
    ) -> None:
        super().__init__(value, begin, None, False, key)
        for name, number in (('target', target), ('band', band)):
            if not (isinstance(number, (int, float)) and 0 <= number < 1):
                raise ConfigError(f"{key}: 'GradientShare.{name}' is {number!r}; it must be a share, such as 0.11")
        if value == 0 or not 0 < target - band < target + band < 1:
            raise ConfigError(
                f"{key}: 'GradientShare' has value={value}, target={target} and band={band}; the value and both edges "
                'of the band must be above 0, for example value=5.0, target=0.11, band=0.01'
            )
        self.target, self.band = float(target), float(band)
        self.hold = check_integer(f'{key}.hold', hold, 0, 'valid: 0, 500')
        self.interval = check_integer(f'{key}.interval', interval, 1, 'valid: 50, 100')
        self.average = check_integer(f'{key}.average', average, 1, 'valid: 1, 10')
        self.reset()

    def reset(self) -> None:
        """Forget all measurements and return to ``value``."""
        self.weight = self.value
        self.shares: list[float] = []
        self.last: float | None = None

    def __call__(self, iteration: int, max_iters: int, epoch_length: int = 1) -> float:
        """Return the weight of one iteration, see :meth:`WeightSchedule.__call__`."""
        return self.weight if iteration >= self.begin else 0.0

    def measures(self, iteration: int) -> bool:
        """Return whether the share is measured in an iteration."""
        held = iteration - int(self.begin) - self.hold
        return held >= 0 and held % self.interval == 0

    def observe(self, share: float) -> None:
        """Take in a measurement, the same on all ranks.

        Args:
            share: The share, in (0, 1); anything else, as where a gradient is 0 or not finite, says nothing.
        """
        if not 0 < share < 1:
            return
        self.last = share
        self.shares.append(share)
        if len(self.shares) == self.average:
            self.weight = steered_weight(self.weight, sum(self.shares) / self.average, self.target, self.band)
            self.shares = []

    def monitors(self) -> dict[str, Tensor]:
        """Return the last share, for the log."""
        return {} if self.last is None else {'gradient_share': torch.tensor(self.last)}

    def state_dict(self) -> dict[str, Any]:
        """Return the weight and the measurements since the last decision."""
        return {'weight': self.weight, 'shares': list(self.shares)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the weight and the measurements."""
        self.weight, self.shares = float(state['weight']), [float(share) for share in state['shares']]


SCHEDULES = ('Constant', 'LinearWarmup', 'LinearDecay', 'Cosine', 'Step', 'Stop', 'GradientShare')


def build_schedule(weight: Any, key: str = 'weight') -> WeightSchedule:
    """Build a schedule from a config value: a number is :class:`Constant`.

    Args:
        weight: Number, schedule config (``dict(type='kd_plugins.LinearWarmup', ...)``) or schedule.
        key: Config key for error sentences, for example ``'distillers.localization.weight'``.

    Raises:
        ConfigError: If the type is unknown or an argument does not fit.
    """
    if isinstance(weight, (int, float)) and not isinstance(weight, bool):
        return Constant(weight, key=key)
    if not isinstance(weight, (WeightSchedule, dict)) or (isinstance(weight, dict) and 'type' not in weight):
        raise ConfigError(f"{key} is {weight!r}; give a number or dict(type='kd_plugins.LinearWarmup', value=1.0)")
    return build(TASK_UTILS, weight, WeightSchedule, key)
