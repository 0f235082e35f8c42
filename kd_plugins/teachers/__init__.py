"""Teachers: a frozen checkpoint, a moving average of the student, an earlier epoch, or the model before a restart."""

from .base import BaseTeacher
from .ema import EMATeacher
from .finished import FinishedTeacher
from .frozen import FrozenTeacher
from .snapshot import SnapshotTeacher

__all__ = ['BaseTeacher', 'EMATeacher', 'FinishedTeacher', 'FrozenTeacher', 'SnapshotTeacher']
