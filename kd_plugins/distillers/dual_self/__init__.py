"""Distillation between the levels of a U-shaped network (DSD), with auxiliary heads.

:class:`DualSelfDistiller` reads the levels of encoder and decoder (``level_taps``), gives them auxiliary heads
(``level_head``, ``level_maps``), and computes supervision and divergences (``level_terms``).
"""

from .distiller import DualSelfDistiller
from .level_head import LevelHead, LevelHeads, LevelHints
from .level_maps import LevelMaps, interpolated_rows, shrunk, upsampled
from .level_taps import semantic_labels
from .level_terms import Branch, LevelTerms

__all__ = [
    'Branch',
    'DualSelfDistiller',
    'LevelHead',
    'LevelHeads',
    'LevelHints',
    'LevelMaps',
    'LevelTerms',
    'interpolated_rows',
    'semantic_labels',
    'shrunk',
    'upsampled',
]
