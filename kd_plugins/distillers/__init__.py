"""Distillers: one method each."""

from .base import BaseDistiller, Batch, Taps
from .dual_self import DualSelfDistiller
from .feature import FeatureDistiller
from .heatmap import HeatmapDistiller
from .local_graph import LocalGraphDistiller
from .localization import LocalizationDistiller
from .logit import LogitDistiller
from .rle import RLEDistiller
from .simcc import SimCCDistiller
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
