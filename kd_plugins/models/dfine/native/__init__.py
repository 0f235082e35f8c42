"""D-FINE's own decoder and detector, which run the released weights; backbone and encoder are modules of their own."""

from .decoder import BoxPosition, DFINEDecoder, DFINEDecoderLayer, Gateway
from .deformable_attention import PointsDeformableAttention
from .denoising import DFINEQueryGenerator
from .detector import DFINE, HybridDETR

__all__ = [
    'DFINE',
    'BoxPosition',
    'DFINEDecoder',
    'DFINEDecoderLayer',
    'DFINEQueryGenerator',
    'Gateway',
    'HybridDETR',
    'PointsDeformableAttention',
]
