"""Data sets that the package generates or reads, and steps of their pipelines."""

from importlib.util import find_spec

from .image_folder import ImageFolder
from .isbi import ISBIMembraneDataset
from .kitti import CameraView, kitti_folder
from .labelled_classes import labelled_classes_coco
from .nifti import NiftiDataset
from .volume_transforms import LoadVolume, MonaiTransforms, PackVolume

if find_spec('mmdet') is not None:
    from . import detection_transforms as detection_transforms

__all__ = [
    'CameraView',
    'ISBIMembraneDataset',
    'ImageFolder',
    'LoadVolume',
    'MonaiTransforms',
    'NiftiDataset',
    'PackVolume',
    'kitti_folder',
    'labelled_classes_coco',
]
