"""Losses: pure functions with their formula, and thin registered modules around them."""

from ..ops.boxes import (
    aligned_iou,
    centers_inside,
    distances_to_boxes,
    expected_distances,
    pairwise_iou,
    to_centers,
    to_corners,
)
from ..ops.chunked_sum import sum_over_rows
from ..ops.edge_bins import edge_targets, expected_offsets, refine_boxes, weighting_function
from ..ops.reduction import global_mean, global_normalizer, mean_over_images, mean_per_image, to_float, weighted_mean
from .decoupled import DDFLoss, decoupled_distillation
from .dice import DiceCELoss, SegmentationSums, class_masks, dice_cross_entropy, segmentation_sums
from .feature import (
    ChannelWiseKLLoss,
    FeatureCosineLoss,
    FeatureMSELoss,
    channel_wise_kl,
    feature_cosine,
    feature_loss,
    feature_mse,
)
from .fine_grained import FGLLoss, fine_grained_localization
from .keypoint import KeypointKLLoss, keypoint_kl, mean_over_joints
from .laplace import LaplaceKLLoss, laplace_kl, laplace_kl_loss
from .level_kl import LevelKLLoss, level_kl, level_kl_sums, uncertainty_weighted
from .localization import LocalizationLoss, edge_distribution_kl, localization_loss
from .logit import (
    QualityFocalKDLoss,
    SoftmaxKLLoss,
    quality_focal,
    quality_focal_kd_loss,
    softmax_kl,
    softmax_kl_loss,
)
from .varifocal import VFLLoss, varifocal

__all__ = [
    'ChannelWiseKLLoss',
    'DDFLoss',
    'DiceCELoss',
    'FGLLoss',
    'FeatureCosineLoss',
    'FeatureMSELoss',
    'KeypointKLLoss',
    'LaplaceKLLoss',
    'LevelKLLoss',
    'LocalizationLoss',
    'QualityFocalKDLoss',
    'SegmentationSums',
    'SoftmaxKLLoss',
    'VFLLoss',
    'aligned_iou',
    'centers_inside',
    'channel_wise_kl',
    'class_masks',
    'decoupled_distillation',
    'dice_cross_entropy',
    'distances_to_boxes',
    'edge_distribution_kl',
    'edge_targets',
    'expected_distances',
    'expected_offsets',
    'feature_cosine',
    'feature_loss',
    'feature_mse',
    'fine_grained_localization',
    'global_mean',
    'global_normalizer',
    'keypoint_kl',
    'laplace_kl',
    'laplace_kl_loss',
    'level_kl',
    'level_kl_sums',
    'localization_loss',
    'mean_over_images',
    'mean_over_joints',
    'mean_per_image',
    'pairwise_iou',
    'quality_focal',
    'quality_focal_kd_loss',
    'refine_boxes',
    'segmentation_sums',
    'softmax_kl',
    'softmax_kl_loss',
    'sum_over_rows',
    'to_centers',
    'to_corners',
    'to_float',
    'uncertainty_weighted',
    'varifocal',
    'weighted_mean',
    'weighting_function',
]
