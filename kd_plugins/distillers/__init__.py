"""Distillers: each one reads taps of student and teacher and returns losses."""

from .base import BaseDistiller, Batch, Taps
from .dual_self.distiller import DualSelfDistiller
from .feature import FeatureDistiller
from .keypoint.heatmap import HeatmapDistiller
from .keypoint.rle import RLEDistiller
from .keypoint.simcc import SimCCDistiller
from .local_graph.distiller import LocalGraphDistiller
from .localization import LocalizationDistiller
from .logit import LogitDistiller
from .stage_localization import StageLocalizationDistiller

__all__ = [
    'BaseDistiller',
    'Batch',
    'DualSelfDistiller',
    'FeatureDistiller',
    'HeatmapDistiller',
    'LocalGraphDistiller',
    'LocalizationDistiller',
    'LogitDistiller',
    'RLEDistiller',
    'SimCCDistiller',
    'StageLocalizationDistiller',
    'Taps',
]
