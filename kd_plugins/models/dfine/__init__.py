"""D-FINE: fine-grained distribution refinement (FDR) and GO-LSD for MMDetection's DETR family."""

from .criterion import Criterion, Denoising, Predictions, Proposals
from .detectors import FDRDABDETR, FDRDINO, FDRDeformableDETR
from .heads import FDRDABDETRHead, FDRDeformableDETRHead, FDRDINOHead, FDRHead
from .native import DFINE, DFINEDecoder, DFINEQueryGenerator, PointsDeformableAttention
from .plain_heads import ProposalLossDINOHead
from .quality_loss import MALLoss, VFLLoss
from .refinement import BoxRefiner, FDRBranches, QualityEstimator, Refinement

__all__ = [
    'DFINE',
    'FDRDABDETR',
    'FDRDINO',
    'BoxRefiner',
    'Criterion',
    'DFINEDecoder',
    'DFINEQueryGenerator',
    'Denoising',
    'FDRBranches',
    'FDRDABDETRHead',
    'FDRDINOHead',
    'FDRDeformableDETR',
    'FDRDeformableDETRHead',
    'FDRHead',
    'MALLoss',
    'PointsDeformableAttention',
    'Predictions',
    'ProposalLossDINOHead',
    'Proposals',
    'QualityEstimator',
    'Refinement',
    'VFLLoss',
]
