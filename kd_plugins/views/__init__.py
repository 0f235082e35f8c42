"""Views: changed images that the student sees while the teacher sees the original ones."""

from .base import BaseView
from .photometric import PhotometricView

__all__ = ['BaseView', 'PhotometricView']
