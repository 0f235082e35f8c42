"""Focal and global distillation (FGD, arXiv 2111.11837): foreground, background, attention and global context.

:class:`FocalGlobalDistiller` finds the objects of a batch (``readers``, ``foreground``), the attention of the maps
(``attention``) and their global context (``context``), and compares them (``loss``).
"""

from .attention import Attention, attention
from .context import GlobalContext
from .distiller import FocalGlobalDistiller
from .foreground import CellRange, box_foreground, cells_of_boxes, cells_of_masks, mask_foreground, released_cells
from .loss import FocalGlobalTerms, attention_gap, background_scale, focal_global_terms, sum_over_levels

__all__ = [
    'Attention',
    'CellRange',
    'FocalGlobalDistiller',
    'FocalGlobalTerms',
    'GlobalContext',
    'attention',
    'attention_gap',
    'background_scale',
    'box_foreground',
    'cells_of_boxes',
    'cells_of_masks',
    'focal_global_terms',
    'mask_foreground',
    'released_cells',
    'sum_over_levels',
]
