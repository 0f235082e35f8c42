"""RT-DETR and RT-DETRv2, which run the released weights, on the encoder and the queries of D-FINE's detector."""

from .attention import ProjectedDeformableAttention
from .backbone import ResNetVD
from .decoder import RTDETRDecoder, RTDETRDecoderLayer
from .detector import RTDETR
from .head import RTDETRHead
from .refinement import LookForwardTwice

__all__ = [
    'RTDETR',
    'LookForwardTwice',
    'ProjectedDeformableAttention',
    'RTDETRDecoder',
    'RTDETRDecoderLayer',
    'RTDETRHead',
    'ResNetVD',
]
