"""Recipes for feature maps: those of a trained network of the same kind, and those of a foundation model."""

from __future__ import annotations

from importlib.util import find_spec

from .recipe import Pair, Settings, Unsuitable

HEATMAPS = 0.1
"""Factor of the weights for a head with heatmaps, the gradient of whose loss is that much smaller than a detector's."""


def _warm_up(pair: Pair, weight: float) -> Settings:
    """Return the schedule of a weight, which is that for a detector."""
    scale = HEATMAPS if pair.student.has_type('head', 'HeatmapHead') else 1.0
    return pair.warm_up(round(weight * scale, 6))


def feature_mse(pair: Pair) -> Settings:
    """Return the entry of plain feature imitation, with the weight of the comparison on blood cells."""
    weight = _warm_up(pair, 0.01)
    return dict(distillers=dict(mse=pair.on_features('FeatureDistiller', kind='mse', weight=weight)))


def channel_wise(pair: Pair) -> Settings:
    """Return the entry of channel-wise distillation of normalised feature maps, as for RTMDet."""
    weight = _warm_up(pair, float(pair.student.levels))
    kind = dict(kind='channel_wise', normalize='batch')
    return dict(distillers=dict(cwd=pair.on_features('FeatureDistiller', **kind, weight=weight)))


def pearson(pair: Pair) -> Settings:
    """Return the entry of correlated channels (PKD); the weight is 6 for each level of a detector."""
    weight = _warm_up(pair, 6.0 * pair.student.levels)
    return dict(distillers=dict(pkd=pair.on_features('FeatureDistiller', kind='pearson', weight=weight)))


def generation(pair: Pair) -> Settings:
    """Return the entry of masked generation (MGD), with the weights of the release for each family."""
    weight, ratio = 2e-5, 0.65
    if pair.student.part('roi_head') is not None:
        weight, ratio = 5e-7, 0.45
    elif pair.student.part('decode_head') is not None:
        ratio = 0.75
    elif pair.student.part('bbox_head') is None or pair.student.part('voxel_encoder') is not None:
        raise Unsuitable('its authors have weights for detectors and segmentors on images alone')
    settings = pair.on_features(
        'FeatureDistiller',
        reduction='sum',
        adapter=dict(type='kd_plugins.MaskedGenerator', mask_ratio=ratio),
        weight=pair.warm_up(weight * pair.student.levels),
    )
    return dict(distillers=dict(mgd=settings))


def focal_global(pair: Pair) -> Settings:
    """Return the entry of maps in and outside of boxes (FGD), with the factors of the release."""
    two_stages = pair.student.part('roi_head') is not None
    if not (two_stages or pair.student.part('bbox_head')) or pair.student.part('voxel_encoder') is not None:
        raise Unsuitable('the model is no detector of boxes on images')
    factors = dict(alpha=5e-5, beta=2.5e-5, gamma=5e-5, lamda=5e-7) if two_stages else {}
    return dict(distillers=dict(fgd=pair.on_features('FocalGlobalDistiller', **factors, weight=1.0)))


def local_graphs(pair: Pair) -> Settings:
    """Return the entry of local graphs."""
    graph = dict(num_points=256, num_neighbours=16, weight=_warm_up(pair, 1.0))
    return dict(distillers=dict(graphs=pair.on_features('LocalGraphDistiller', **graph)))


FOUNDATION = 'vit_base_patch16_dinov3'


def foundation(pair: Pair) -> Settings:
    """Return the entry of a foundation model whose tokens teach the map of stride 32, as in RT-DETRv4."""
    if pair.student.deep is None:
        raise Unsuitable('no layer gives the head a map of stride 32, with which the tokens are compared')
    if find_spec('timm') is None:
        raise Unsuitable('timm, which has the network, is not installed; make install EXTRAS=timm')
    tokens = dict(
        type='kd_plugins.FeatureDistiller',
        student_tap=pair.student.deep,
        teacher_tap='backbone',
        kind='cosine',
        resize='bilinear',
        weight=dict(type='kd_plugins.GradientShare', value=5.0),
    )
    network = dict(type='kd_plugins.TimmBackbone', model=FOUNDATION, out_indices=[11])
    teacher = dict(type='kd_plugins.BackboneTeacher', model=network, checkpoint=None, pool=2, patch=16)
    return dict(teacher=teacher, distillers=dict(tokens=tokens))
