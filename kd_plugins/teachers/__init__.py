"""Teachers: frozen checkpoint, moving average of the student, the student of an earlier epoch."""

from .base import BaseTeacher
from .ema import EMATeacher
from .frozen import FrozenTeacher
from .snapshot import SnapshotTeacher

__all__ = ['BaseTeacher', 'EMATeacher', 'FrozenTeacher', 'SnapshotTeacher']
