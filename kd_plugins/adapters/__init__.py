"""Adapters: small layers that map student features to the teacher's width and are dropped after training."""

from .edge import EdgeAdapter
from .pointwise import PointwiseAdapter, infer_adapter

__all__ = ['EdgeAdapter', 'PointwiseAdapter', 'infer_adapter']
