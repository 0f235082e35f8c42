"""Losses: pure functions with their formula, and thin registered modules around them."""

from .boxes import aligned_iou, centers_inside, distances_to_boxes, expected_distances, pairwise_iou
from .feature import (
    ChannelWiseKLLoss,
    FeatureCosineLoss,
    FeatureMSELoss,
    channel_wise_kl,
    feature_cosine,
    feature_loss,
    feature_mse,
)
from .localization import LocalizationLoss, edge_distribution_kl, localization_loss
from .logit import (
    QualityFocalKDLoss,
    SoftmaxKLLoss,
    quality_focal,
    quality_focal_kd_loss,
    softmax_kl,
    softmax_kl_loss,
)
from .reduction import global_mean, global_normalizer, mean_over_images, mean_per_image, to_float, weighted_mean

__all__ = [
    'ChannelWiseKLLoss',
    'FeatureCosineLoss',
    'FeatureMSELoss',
    'LocalizationLoss',
    'QualityFocalKDLoss',
    'SoftmaxKLLoss',
    'aligned_iou',
    'centers_inside',
    'channel_wise_kl',
    'distances_to_boxes',
    'edge_distribution_kl',
    'expected_distances',
    'feature_cosine',
    'feature_loss',
    'feature_mse',
    'global_mean',
    'global_normalizer',
    'localization_loss',
    'mean_over_images',
    'mean_per_image',
    'pairwise_iou',
    'quality_focal',
    'quality_focal_kd_loss',
    'softmax_kl',
    'softmax_kl_loss',
    'to_float',
    'weighted_mean',
]
