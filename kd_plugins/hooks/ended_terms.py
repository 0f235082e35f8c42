"""Losses that a run no longer has: its log leaves them out."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import MessageHub

from .task_losses import TASK, logged_key

PREFIX = 'train/'
OWN = ('distill.', f'{TASK}.')
"""Beginnings of the keys that a DistillHook adds to those of the model."""


def forget_ended(hub: MessageHub, logged: Container[str]) -> None:
    """Drop the values of distillation terms, and of task losses in their place, that an iteration does not have.

    MMEngine keeps the values of every loss that was ever logged, also across a resume, and logs their mean again and
    again: of a distiller that was switched off, and of a task loss whose factor has become 0, or is 0 no more.

    Args:
        hub: The message hub of the run.
        logged: Keys of the losses that the iteration logs.

    >>> hub = MessageHub('ended terms')
    >>> for key in ('train/distill.a.loss_x', 'train/loss_cls', 'train/loss_bbox', 'train/lr'):
    ...     hub.update_scalar(key, 1.0)
    >>> forget_ended(hub, ['task.cls', 'loss_bbox'])
    >>> list(hub.log_scalars)
    ['train/loss_bbox', 'train/lr']
    """
    for key in list(hub.log_scalars):
        name = key.removeprefix(PREFIX)
        if name == key or name in logged:
            continue
        if name.startswith(OWN) or logged_key(name) in logged:
            del hub.log_scalars[key]


class EndedTerms(Hook):
    """Log no terms of an earlier part of the run, in a run that goes on without DistillHook."""

    # After the hook that keeps the losses, before the one that logs them.
    priority = 'NORMAL'

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Drop what the iteration does not have."""
        if outputs is not None:
            forget_ended(runner.message_hub, outputs)
