"""Teachers: frozen checkpoint, moving average of the student, the student of an earlier epoch or before a restart."""

from .base import BaseTeacher
from .ema import EMATeacher
from .finished import FinishedTeacher
from .frozen import FrozenTeacher
from .snapshot import SnapshotTeacher

__all__ = ['BaseTeacher', 'EMATeacher', 'FinishedTeacher', 'FrozenTeacher', 'SnapshotTeacher']
