"""Keypoint distillation: heatmaps, SimCC bins and RLE regressions (DWPose, arXiv 2307.15880).

``base`` holds the part that the three distillers share, :class:`KeypointDistiller`; the losses are in
:mod:`kd_plugins.losses`.
"""

from .base import KeypointDistiller, head_above
from .heatmap import HeatmapDistiller
from .rle import RLEDistiller
from .simcc import SimCCDistiller

__all__ = ['HeatmapDistiller', 'KeypointDistiller', 'RLEDistiller', 'SimCCDistiller', 'head_above']
