"""Average of the weights whose memory fits the length of the run."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook

from ..registry import HOOKS
from ..utils.checks import check_integer, check_number

KEY = 'FittedEMAHook'


def fitted(momentum: float, gamma: float, updates: int, whole: int) -> tuple[float, float]:
    r"""Return momentum and warm-up of an average for a run of ``updates`` updates.

    With :math:`r = \max(1, \text{whole} / \text{updates})` they are :math:`\min(1, r \cdot \text{momentum})` and
    :math:`\text{gamma} / r`: the average of a short run is that of a run of ``whole`` updates, with time shortened.

    Args:
        momentum: Share of the new weights in each update of a long run.
        gamma: Updates of the warm-up of a long run.
        updates: Updates of this run.
        whole: Updates from which on a run is long.

    >>> fitted(1e-4, 1000, 468, 100_000)
    (0.021367521367521368, 4.68)
    >>> fitted(1e-4, 1000, 480_000, 100_000)
    (0.0001, 1000.0)
    """
    ratio = max(1.0, whole / max(updates, 1))
    return min(1.0, ratio * momentum), gamma / ratio


@HOOKS.register_module()
class FittedEMAHook(EMAHook):
    """MMEngine's ``EMAHook`` with a momentum and a warm-up that are shortened with the run.

    After n updates with momentum m, the average holds :math:`(1 - m)^n` of the weights of the start: 95 % after 468
    updates with 1e-4, the setting of D-FINE's configs for data of one's own. A new head then detects nothing in the
    evaluated average, while the loss of the trained weights falls. This hook multiplies the momentum, and divides the
    warm-up, by ``whole / updates`` in runs that are shorter than ``whole``; longer ones have the released average.

    Source: ``ModelEMA`` of Peterande/D-FINE, src/optim/ema.py: decay ``0.9999 * (1 - exp(-t / 1000))`` of every
    floating entry, buffers included, which is MMDetection's ``ExpMomentumEMA``.

    Args:
        ema_type: Averaged model: MMDetection's ``ExpMomentumEMA``, or MMEngine's ``ExponentialMovingAverage`` with
            ``gamma=None``.
        momentum: Share of the new weights in each update of a long run.
        gamma: Updates of the warm-up of a long run; None for an average without warm-up.
        whole: Updates from which on a run is long. The average of a shorter run keeps ``exp(-momentum * whole)`` of the
            weights of its start, with the defaults less than 0.01 %.
        update_buffers: Whether the statistics of BatchNorm are averaged, too.
        **kwargs: Further arguments of ``EMAHook`` and of the averaged model.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __init__(
        self,
        ema_type: str = 'ExpMomentumEMA',
        momentum: float = 1e-4,
        gamma: float | None = 1000,
        whole: int = 100_000,
        update_buffers: bool = True,
        **kwargs: Any,
    ) -> None:
        self.momentum = check_number(f'{KEY}.momentum', momentum, positive=True, example=1e-4)
        self.gamma = None if gamma is None else check_number(f'{KEY}.gamma', gamma, positive=True, example=1000.0)
        self.whole = check_integer(f'{KEY}.whole', whole, 1, 'valid: 100000')
        warm_up = {} if gamma is None else {'gamma': gamma}
        super().__init__(ema_type, momentum=momentum, update_buffers=update_buffers, **warm_up, **kwargs)

    def before_train(self, runner: Any) -> None:
        """Set momentum and warm-up of the average, when the length of the run is known."""
        super().before_train(runner)
        begin = (self.begin_epoch - 1) * len(runner.train_dataloader) if self.enabled_by_epoch else self.begin_iter
        updates = (runner.max_iters - begin) // self.ema_model.interval
        momentum, gamma = fitted(self.momentum, self.gamma or 1.0, updates, self.whole)
        self.ema_model.momentum = momentum
        if self.gamma is not None:
            self.ema_model.gamma = gamma
        runner.logger.info(
            f'{type(self).__name__}: the average has momentum {momentum:.3g}'
            + (f' and a warm-up of {gamma:.3g} updates' if self.gamma is not None else '')
            + f' in this run of {updates} updates.'
        )
