"""Focal and global distillation (FGD, arXiv 2111.11837): foreground, background, attention and global context.

:class:`FocalGlobalDistiller` finds the objects of a batch (``readers``, ``foreground``), the attention of the maps
(``attention``) and their global context (``context``), and compares them (``loss``, ``map_sums``).
"""

from .attention import Attention, attention, attention_of_sums
from .context import GlobalContext
from .distiller import FocalGlobalDistiller
from .foreground import CellRange, box_foreground, cells_of_boxes, cells_of_masks, mask_foreground, released_cells
from .loss import FocalGlobalTerms, attention_gap, background_scale, focal_global_terms, sum_over_levels
from .map_sums import MapSums, map_sums, strength_sums

__all__ = [
    'Attention',
    'CellRange',
    'FocalGlobalDistiller',
    'FocalGlobalTerms',
    'GlobalContext',
    'MapSums',
    'attention',
    'attention_gap',
    'attention_of_sums',
    'background_scale',
    'box_foreground',
    'cells_of_boxes',
    'cells_of_masks',
    'focal_global_terms',
    'map_sums',
    'mask_foreground',
    'released_cells',
    'strength_sums',
    'sum_over_levels',
]
