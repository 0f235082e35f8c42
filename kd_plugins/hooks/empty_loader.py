"""Trainings without a batch: they end in a sentence, and not as if they had trained."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from ..errors import ConfigError
from ..utils.data_errors import NO_BATCH


class EmptyLoaderCheck(Hook):
    """Refuse a training whose loader gives no batch, of which MMEngine would save the checkpoint of its start."""

    priority = 'VERY_HIGH'

    def before_train(self, runner: Any) -> None:
        """Compare the length of the loader with 0, where it has one.

        Raises:
            ConfigError: If it is 0.
        """
        try:
            length = len(runner.train_dataloader)
        except TypeError:
            return
        if length == 0:
            raise ConfigError(NO_BATCH)


__all__ = ['EmptyLoaderCheck']
