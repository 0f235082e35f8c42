"""Backbones for the detectors, segmentors and pose estimators of OpenMMLab: HGNetV2, and those of timm."""

from .file_weights import FileWeightsBackbone
from .hgnetv2 import HGNetV2
from .stages import Stages, find_stages
from .timm_backbone import TimmBackbone, create_network
from .weights import assign_names, efficientnet_lite_names, read_weights, weights_file

__all__ = [
    'FileWeightsBackbone',
    'HGNetV2',
    'Stages',
    'TimmBackbone',
    'assign_names',
    'create_network',
    'efficientnet_lite_names',
    'find_stages',
    'read_weights',
    'weights_file',
]
