"""Losses: pure functions with their formula, and registered modules that call them."""

from .affinity import AffinityLoss, affinity_loss
from .anchor import anchor_penalty, relative_drift
from .cross_head import cross_box_loss, cross_centerness_loss, cross_class_loss
from .decoupled import DDFLoss, decoupled_distillation
from .dense import dense_box_loss, dense_focal_loss, giou_distance, hard_label_loss
from .dice import DiceCELoss, SegmentationSums, class_masks, dice_cross_entropy, segmentation_sums
from .dist import DISTLoss, dist_loss, inter_class_distance, intra_class_distance
from .feature import (
    ChannelWiseKLLoss,
    FeatureCosineLoss,
    FeatureMSELoss,
    channel_wise_kl,
    feature_cosine,
    feature_cosine_l1,
    feature_loss,
    feature_mse,
)
from .fine_grained import FGLLoss, fine_grained_localization
from .keypoint import KeypointKLLoss, keypoint_kl, mean_over_joints
from .laplace import LaplaceKLLoss, laplace_kl, laplace_kl_loss
from .level_kl import LevelKLLoss, level_kl, level_kl_sums, uncertainty_weighted
from .localization import LocalizationLoss, localization_loss
from .logit import (
    QualityFocalKDLoss,
    SoftmaxKLLoss,
    quality_focal,
    quality_focal_kd_loss,
    soft_target_focal,
    softmax_kl,
    softmax_kl_loss,
    symmetric_kl,
)
from .matchability import matchability_aware
from .pearson import PearsonFeatureLoss, pearson_distance
from .query import query_edge_loss, query_kl_loss, query_l1_loss, query_softmax_loss
from .roi import roi_box_loss, roi_mask_loss
from .target_split import dkd_loss, nkd_loss, others_by_rank, uskd_loss, without_label
from .token_relations import context_loss, token_relation_loss
from .varifocal import varifocal

__all__ = [
    'AffinityLoss',
    'ChannelWiseKLLoss',
    'DDFLoss',
    'DISTLoss',
    'DiceCELoss',
    'FGLLoss',
    'FeatureCosineLoss',
    'FeatureMSELoss',
    'KeypointKLLoss',
    'LaplaceKLLoss',
    'LevelKLLoss',
    'LocalizationLoss',
    'PearsonFeatureLoss',
    'QualityFocalKDLoss',
    'SegmentationSums',
    'SoftmaxKLLoss',
    'affinity_loss',
    'anchor_penalty',
    'channel_wise_kl',
    'class_masks',
    'context_loss',
    'cross_box_loss',
    'cross_centerness_loss',
    'cross_class_loss',
    'decoupled_distillation',
    'dense_box_loss',
    'dense_focal_loss',
    'dice_cross_entropy',
    'dist_loss',
    'dkd_loss',
    'feature_cosine',
    'feature_cosine_l1',
    'feature_loss',
    'feature_mse',
    'fine_grained_localization',
    'giou_distance',
    'hard_label_loss',
    'inter_class_distance',
    'intra_class_distance',
    'keypoint_kl',
    'laplace_kl',
    'laplace_kl_loss',
    'level_kl',
    'level_kl_sums',
    'localization_loss',
    'matchability_aware',
    'mean_over_joints',
    'nkd_loss',
    'others_by_rank',
    'pearson_distance',
    'quality_focal',
    'quality_focal_kd_loss',
    'query_edge_loss',
    'query_kl_loss',
    'query_l1_loss',
    'query_softmax_loss',
    'relative_drift',
    'roi_box_loss',
    'roi_mask_loss',
    'segmentation_sums',
    'soft_target_focal',
    'softmax_kl',
    'softmax_kl_loss',
    'symmetric_kl',
    'token_relation_loss',
    'uncertainty_weighted',
    'uskd_loss',
    'varifocal',
    'without_label',
]
