"""Randomness as a function of seed, rank and epoch, so that a resumed run draws what the uninterrupted one drew."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, set_random_seed

from ..registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Reseed Python, NumPy and PyTorch at the start of every epoch.

    MMEngine's checkpoints hold no random state, so after a resume dropout, denoising queries, proposal sampling and
    augmentation in the main process go on from a fresh seed. With this hook the generators are seeded from
    ``(seed, rank, epoch)`` where an epoch begins (an iteration, in iteration-based loops), which needs nothing to be
    saved. Use it in the baseline and in the distilled config alike.

    Data-loading workers are seeded by MMEngine when they start: keep ``persistent_workers=False`` for a bit-exact
    resume.
    """

    priority = 'VERY_HIGH'

    @staticmethod
    def _reseed(runner: Any, step: int) -> None:
        # A prime stride keeps the streams of neighbouring seeds apart.
        set_random_seed((runner.seed + get_rank() + 100_003 * (step + 1)) % 2**31)

    def before_train_epoch(self, runner: Any) -> None:
        """Seed for the coming epoch, before its data loader draws anything."""
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            self._reseed(runner, runner.epoch)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed for the coming iteration where the loop has no epochs."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            self._reseed(runner, runner.iter)
