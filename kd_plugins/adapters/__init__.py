"""Adapters: small layers that map student features to the teacher's width and are dropped after training."""

from .edge import EdgeAdapter
from .level_head import LevelHead, LevelHeads, LevelHints
from .pointwise import PointwiseAdapter, infer_adapter

__all__ = ['EdgeAdapter', 'LevelHead', 'LevelHeads', 'LevelHints', 'PointwiseAdapter', 'infer_adapter']
