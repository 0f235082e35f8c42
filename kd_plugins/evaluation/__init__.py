"""Metrics of LiDAR boxes, of volumes, of single classes and of groups of classes, without a GPU."""

from .class_groups import class_group_coco_metric
from .class_iou import ClassIoUMetric, class_iou
from .grid import resample_labels, save_labels
from .kitti_ap import average_precision
from .lidar_metric import LidarAPMetric
from .volumetric import VolumetricMetric, volume_scores

__all__ = [
    'ClassIoUMetric',
    'LidarAPMetric',
    'VolumetricMetric',
    'average_precision',
    'class_group_coco_metric',
    'class_iou',
    'resample_labels',
    'save_labels',
    'volume_scores',
]
