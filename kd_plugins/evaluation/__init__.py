"""Metrics that run on any machine."""

from .grid import resample_labels, save_labels
from .volumetric import VolumetricMetric, volume_scores

__all__ = ['VolumetricMetric', 'resample_labels', 'save_labels', 'volume_scores']
