"""Metrics of LiDAR boxes and of volumes, without a GPU."""

from .grid import resample_labels, save_labels
from .kitti_ap import average_precision
from .lidar_metric import LidarAPMetric
from .volumetric import VolumetricMetric, volume_scores

__all__ = [
    'LidarAPMetric',
    'VolumetricMetric',
    'average_precision',
    'resample_labels',
    'save_labels',
    'volume_scores',
]
