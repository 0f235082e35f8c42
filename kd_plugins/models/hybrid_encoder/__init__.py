"""Hybrid encoder of RT-DETR and D-FINE for MMDetection's DETR family."""

from .encoder import HybridEncoder, IntraScaleAttention
from .layers import CSPRepLayer, RepELANBlock, RepVGGBlock
from .positions import cell_positions

__all__ = ['CSPRepLayer', 'HybridEncoder', 'IntraScaleAttention', 'RepELANBlock', 'RepVGGBlock', 'cell_positions']
