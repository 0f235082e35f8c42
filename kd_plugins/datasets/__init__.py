"""Data that the package makes or reads by itself."""

from .isbi import ISBIMembraneDataset
from .nifti import NiftiDataset
from .volume_transforms import LoadVolume, MonaiTransforms, PackVolume

__all__ = ['ISBIMembraneDataset', 'LoadVolume', 'MonaiTransforms', 'NiftiDataset', 'PackVolume']
