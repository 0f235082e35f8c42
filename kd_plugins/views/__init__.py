"""Views: changed images that the student sees while the teacher sees the original ones."""

from .base import BaseView
from .cutmix import CutMix
from .photometric import PhotometricView
from .transform import TransformView

__all__ = ['BaseView', 'CutMix', 'PhotometricView', 'TransformView']
