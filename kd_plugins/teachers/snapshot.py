"""Teacher that is the student of an earlier epoch (PS-KD, arXiv 2006.12000, the variant that stores the model)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import TASK_UTILS
from .base import BaseTeacher
from .student_copy import ModelBuilder
from .tensor_slots import TensorSlot, tensor_slots


@TASK_UTILS.register_module()
class SnapshotTeacher(BaseTeacher):
    """Student of ``epochs`` epochs ago as teacher.

    During epoch ``e`` (0-based) the teacher has the weights of the student after ``e - epochs + 1`` epochs, so
    ``epochs=1`` is the student at the start of the current epoch. The teacher is ready when ``epochs`` epochs are
    finished. In a loop of iterations an epoch is one pass over the data loader.

    Args:
        epochs: Age of the teacher in epochs, at least 1. ``epochs - 1`` copies of the weights are kept on the CPU.
        mode: See :class:`~kd_plugins.teachers.base.BaseTeacher`.
        key: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If ``epochs`` is less than 1.
    """

    counts_epochs = True

    def __init__(self, epochs: int = 1, mode: str = 'tensor', key: str = 'teacher') -> None:
        super().__init__(mode, key)
        if epochs < 1:
            raise ConfigError(f'{self.key}.epochs is {epochs}; the youngest snapshot is 1 epoch old, so use 1 or more')
        self.epochs = epochs
        self.finished = 0
        self._queue: deque[dict[str, Tensor]] = deque()
        self._slots: dict[str, TensorSlot] = {}

    @property
    def ready(self) -> bool:
        """Whether ``epochs`` epochs are finished."""
        return self.finished >= self.epochs

    def prepare(
        self, student: nn.Module, iteration: int = 0, epoch: int = 0, build_model: ModelBuilder | None = None
    ) -> None:
        """Copy the student; the weights of a snapshot replace the copied ones at the end of an epoch."""
        self._copy_of(student, build_model)
        self._slots = tensor_slots(self.model)

    def check_schedule(self, iteration: int, epoch_length: int, max_iters: int) -> None:
        """Refuse a run that ends before the first snapshot is old enough."""
        remaining = self.epochs - self.finished
        if iteration // epoch_length + remaining < math.ceil(max_iters / epoch_length):
            return
        raise ConfigError(
            f'{self.key}.epochs is {self.epochs} and the run has {max_iters / epoch_length:.4g} epochs of '
            f'{epoch_length} iterations, {iteration // epoch_length} of them before this start, so no snapshot would '
            "ever teach; nearest: epochs=1 in a longer run, or teacher=dict(type='kd_plugins.EMATeacher')"
        )

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Queue the student's weights and load those that are old enough."""
        names = tensor_slots(student, unique=False)
        self._queue.append({name: names[name].tensor.detach().to('cpu', copy=True) for name in self._slots})
        self.finished += 1
        if self.ready:
            self._load(self._queue.popleft())

    @torch.no_grad()
    def _load(self, weights: Mapping[str, Tensor]) -> None:
        for name, slot in self._slots.items():
            slot.tensor.copy_(weights[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the teacher's weights and the queued ones."""
        return {'model': self.model.state_dict(), 'waiting': list(self._queue), 'finished': self.finished}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`; MMEngine reads it onto the device, and queued weights go back.

        Raises:
            ConfigError: If the queue is that of another age, so that every later teacher would have the wrong one.
        """
        waiting, finished = len(state['waiting']), int(state['finished'])
        if waiting != min(finished, self.epochs - 1):
            saved = f'epochs={waiting + 1}' + ('' if waiting < finished else ' or more')
            raise ConfigError(
                f'{self.key}.epochs is {self.epochs}, and the resumed checkpoint keeps {waiting} snapshots after '
                f'{finished} epochs, those of a teacher of another age; resume with {saved}, or start a new run with '
                'load_from'
            )
        self.model.load_state_dict(state['model'])
        self._queue = deque({name: weights[name].cpu() for name in self._slots} for weights in state['waiting'])
        self.finished = finished
