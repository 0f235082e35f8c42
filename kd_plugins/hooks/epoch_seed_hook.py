"""Reseed the random generators every epoch, so that a resumed run draws the numbers of the uninterrupted run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, set_random_seed

from ..registry import HOOKS


class SeededBatches:
    """Endless iterator over batches that seeds the generators before it loads each batch.

    A resumed loop of iterations loads the batches again that the interrupted run has used. With a seed for each batch,
    the next one is augmented as in the uninterrupted run.

    Args:
        batches: The iterator of the loop.
        reseed: Function of the number of batches before this one.
    """

    def __init__(self, batches: Any, reseed: Callable[[int], None]) -> None:
        self.batches = batches
        self.reseed = reseed
        self.count = 0

    def __iter__(self) -> SeededBatches:
        return self

    def __next__(self) -> Any:
        self.reseed(self.count)
        self.count += 1
        return next(self.batches)

    def skip_iter(self, num_iters: int) -> None:
        """Skip batches without loading them, as the loop of the maintained fork does when it resumes."""
        self.batches.skip_iter(num_iters)
        self.count += num_iters


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Reseed Python, NumPy and PyTorch at the start of every epoch.

    The checkpoints of MMEngine hold no random state. After a resume, dropout, denoising queries, proposal sampling and
    augmentation in the main process therefore draw other numbers than in the uninterrupted run. This hook seeds the
    generators from ``(seed, rank, epoch)`` at the start of an epoch (in loops of iterations, before each batch is
    loaded), so no state has to be saved. Use it in the baseline and in the distilled config alike.

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

    def before_train(self, runner: Any) -> None:
        """Seed before every batch in a loop without epochs, also before those that a resumed run skips."""
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            batches = loop.dataloader_iterator
            if isinstance(batches, SeededBatches):  # training goes on in the same process
                batches = batches.batches
            loop.dataloader_iterator = SeededBatches(batches, lambda step: self._reseed(runner, step))
