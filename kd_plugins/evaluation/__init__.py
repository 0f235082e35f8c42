"""Metrics of LiDAR boxes, of volumes, of single classes, of groups of classes and of calibration, without a GPU."""

from .calibration import calibration_error, confidence_bins
from .class_groups import class_group_coco_metric
from .class_iou import ClassIoUMetric, class_iou
from .detection_calibration import DetectionCalibration, right_detections
from .grid import resample_labels, save_labels
from .kitti_ap import average_precision
from .lidar_metric import LidarAPMetric
from .pixel_calibration import PixelCalibration, pixel_probabilities
from .volumetric import VolumetricMetric, volume_scores

__all__ = [
    'ClassIoUMetric',
    'DetectionCalibration',
    'LidarAPMetric',
    'PixelCalibration',
    'VolumetricMetric',
    'average_precision',
    'calibration_error',
    'class_group_coco_metric',
    'class_iou',
    'confidence_bins',
    'pixel_probabilities',
    'resample_labels',
    'right_detections',
    'save_labels',
    'volume_scores',
]
