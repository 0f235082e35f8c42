"""Volumetric segmentation: MMEngine model and preprocessor for the networks of MONAI."""

from .preprocessor import VolumePreprocessor
from .segmentor import VolumetricSegmentor, network_weights, unstack

__all__ = ['VolumePreprocessor', 'VolumetricSegmentor', 'network_weights', 'unstack']
