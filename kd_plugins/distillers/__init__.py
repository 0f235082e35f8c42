"""Distillers: each one reads taps of student and teacher and returns losses."""

from .anchor import ParameterAnchor
from .base import BaseDistiller, Batch, Taps
from .box import BoxDistiller
from .cross_head import CrossHeadDistiller
from .dual_self import DualSelfDistiller
from .feature import FeatureDistiller
from .focal_global import FocalGlobalDistiller
from .keypoint import HeatmapDistiller, RLEDistiller, SimCCDistiller
from .label_guided import LabelGuidedDistiller
from .local_graph import LocalGraphDistiller
from .localization import LocalizationDistiller
from .logit import LogitDistiller
from .query import QueryDistiller
from .relation import RelationDistiller
from .roi import RoIDistiller
from .stage_class import StageClassDistiller
from .stage_localization import StageLocalizationDistiller
from .uskd import USKDDistiller

__all__ = [
    'BaseDistiller',
    'Batch',
    'BoxDistiller',
    'CrossHeadDistiller',
    'DualSelfDistiller',
    'FeatureDistiller',
    'FocalGlobalDistiller',
    'HeatmapDistiller',
    'LabelGuidedDistiller',
    'LocalGraphDistiller',
    'LocalizationDistiller',
    'LogitDistiller',
    'ParameterAnchor',
    'QueryDistiller',
    'RLEDistiller',
    'RelationDistiller',
    'RoIDistiller',
    'SimCCDistiller',
    'StageClassDistiller',
    'StageLocalizationDistiller',
    'Taps',
    'USKDDistiller',
]
