"""Distillers: one method each."""

from .base import BaseDistiller, Batch, Taps
from .feature import FeatureDistiller
from .localization import LocalizationDistiller
from .logit import LogitDistiller
from .stage_localization import StageLocalizationDistiller

__all__ = [
    'BaseDistiller',
    'Batch',
    'FeatureDistiller',
    'LocalizationDistiller',
    'LogitDistiller',
    'StageLocalizationDistiller',
    'Taps',
]
