"""Data that the package makes or reads by itself."""

from .nifti import NiftiDataset
from .volume_transforms import LoadVolume, MonaiTransforms, PackVolume

__all__ = ['LoadVolume', 'MonaiTransforms', 'NiftiDataset', 'PackVolume']
