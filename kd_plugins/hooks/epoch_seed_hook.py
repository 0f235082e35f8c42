"""Reseed the random generators every epoch, so that a resumed run draws the numbers of the uninterrupted run."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, set_random_seed

from ..registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Reseed Python, NumPy and PyTorch at the start of every epoch.

    The checkpoints of MMEngine hold no random state. After a resume, dropout, denoising queries, proposal sampling and
    augmentation in the main process therefore draw other numbers than in the uninterrupted run. This hook seeds the
    generators from ``(seed, rank, epoch)`` at the start of an epoch (of an iteration, in iteration-based loops), so no
    state has to be saved. Use it in the baseline and in the distilled config alike.

    MMEngine seeds the workers of a data loader when they start. Keep ``persistent_workers=False`` for a bit-exact
    resume.
    """

    priority = 'VERY_HIGH'

    @staticmethod
    def _reseed(runner: Any, step: int) -> None:
        # With a prime stride, runs of neighbouring seeds do not share the seeds of their epochs.
        set_random_seed((runner.seed + get_rank() + 100_003 * (step + 1)) % 2**31)

    def before_train_epoch(self, runner: Any) -> None:
        """Seed for the coming epoch, before its data loader draws numbers."""
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            self._reseed(runner, runner.epoch)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed for the coming iteration in a loop without epochs."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            self._reseed(runner, runner.iter)
