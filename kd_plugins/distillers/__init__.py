"""Distillers: one method each."""

from .base import BaseDistiller, Batch, Taps
from .feature import FeatureDistiller
from .local_graph import LocalGraphDistiller
from .localization import LocalizationDistiller
from .logit import LogitDistiller
from .stage_localization import StageLocalizationDistiller

__all__ = [
    'BaseDistiller',
    'Batch',
    'FeatureDistiller',
    'LocalGraphDistiller',
    'LocalizationDistiller',
    'LogitDistiller',
    'StageLocalizationDistiller',
    'Taps',
]
