"""Data that the package makes or reads by itself."""

from .isbi import ISBIMembraneDataset
from .kitti_infos import CameraView, kitti_folder
from .nifti import NiftiDataset
from .volume_transforms import LoadVolume, MonaiTransforms, PackVolume

__all__ = [
    'CameraView',
    'ISBIMembraneDataset',
    'LoadVolume',
    'MonaiTransforms',
    'NiftiDataset',
    'PackVolume',
    'kitti_folder',
]
