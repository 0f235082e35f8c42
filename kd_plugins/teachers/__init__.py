"""Teachers: a frozen checkpoint, any backbone, a moving average of the student, or an earlier state of it."""

from .backbone import BackboneTeacher
from .base import BaseTeacher
from .ema import EMATeacher
from .finished import FinishedTeacher
from .frozen import FrozenTeacher
from .snapshot import SnapshotTeacher

__all__ = ['BackboneTeacher', 'BaseTeacher', 'EMATeacher', 'FinishedTeacher', 'FrozenTeacher', 'SnapshotTeacher']
