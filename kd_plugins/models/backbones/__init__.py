"""Backbones of timm for the detectors, segmentors and pose estimators of OpenMMLab."""

from .stages import Stages, find_stages
from .timm_backbone import TimmBackbone, create_network
from .weights import assign_names, efficientnet_lite_names, read_weights, weights_file

__all__ = [
    'Stages',
    'TimmBackbone',
    'assign_names',
    'create_network',
    'efficientnet_lite_names',
    'find_stages',
    'read_weights',
    'weights_file',
]
