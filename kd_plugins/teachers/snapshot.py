"""Teacher that is the student of an earlier epoch (PS-KD, arXiv 2006.12000, the variant that stores the model)."""

from __future__ import annotations

from collections import deque
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import TASK_UTILS
from .base import BaseTeacher, tensors_of


@TASK_UTILS.register_module()
class SnapshotTeacher(BaseTeacher):
    """Student of ``epochs`` epochs ago as teacher.

    During epoch ``e`` (0-based) the teacher has the weights of the student after ``e - epochs + 1`` epochs, so
    ``epochs=1`` is the student at the start of the current epoch. The teacher is ready when ``epochs`` epochs are
    finished.

    Args:
        epochs: Age of the teacher in epochs, at least 1. ``epochs - 1`` copies of the weights are kept on the CPU.
        mode: See :class:`~kd_plugins.teachers.base.BaseTeacher`.
        key: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If ``epochs`` is less than 1.
    """

    def __init__(self, epochs: int = 1, mode: str = 'tensor', key: str = 'teacher') -> None:
        super().__init__(mode, key)
        if epochs < 1:
            raise ConfigError(f'{self.key}.epochs is {epochs}; the youngest snapshot is 1 epoch old, so use 1 or more')
        self.epochs = epochs
        self.finished = 0
        self._queue: deque[dict[str, Tensor]] = deque()

    @property
    def ready(self) -> bool:
        """Whether ``epochs`` epochs are finished."""
        return self.finished >= self.epochs

    def prepare(self, student: nn.Module, iteration: int = 0, epoch: int = 0) -> None:
        """Copy the student; the weights of a snapshot replace the copied ones at the end of an epoch."""
        self._copy_of(student)

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Queue the student's weights and load those that are old enough."""
        self._queue.append({name: value.detach().cpu().clone() for name, value in tensors_of(student).items()})
        self.finished += 1
        if self.ready:
            self.model.load_state_dict(self._queue.popleft())

    def state_dict(self) -> dict[str, Any]:
        """Return the teacher's weights and the queued ones."""
        return {'model': self.model.state_dict(), 'waiting': list(self._queue), 'finished': self.finished}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`."""
        self.model.load_state_dict(state['model'])
        self._queue = deque(state['waiting'])
        self.finished = state['finished']
