"""Transforms of D-FINE's training pipeline that MMDetection lacks or defines in another way."""

from .iou_crop import RandomIoUCrop, accepted_boxes
from .photometric import RandomPhotometricDistort
from .small_boxes import DropSmallBoxes

__all__ = ['DropSmallBoxes', 'RandomIoUCrop', 'RandomPhotometricDistort', 'accepted_boxes']
