"""Settings for dense heads of detectors: edge distributions, boxes, class scores, and the head of another network."""

from __future__ import annotations

from ..distillers.box_heads import layers_of
from ..utils.head_types import has_distributions, why_no_distribution
from .recipe import Pair, Settings, Unsuitable

LOCALIZATION_TITLE = 'edge distributions and class scores (LD, arXiv 2102.12252)'


def localization(pair: Pair) -> Settings:
    """Return the entry of localization distillation with class scores, for heads with edge distributions."""
    head = pair.student.part('bbox_head')
    if head is None:
        raise Unsuitable('the model has no bbox_head')
    if not has_distributions(head):
        raise Unsuitable(f'bbox_head is {type(head).__name__}, {why_no_distribution(pair.student.model, "bbox_head")}')
    return dict(
        distillers=dict(
            localization=dict(type='kd_plugins.LocalizationDistiller', temperature=5.0, weight=pair.warm_up(1.5)),
            logits=scores(pair),
        )
    )


def scores(pair: Pair) -> Settings:
    """Return the distiller of class scores of a dense head."""
    layers = layers_of(pair.student.part('bbox_head'))
    if layers is None:
        raise Unsuitable('the model has no bbox_head with one score per class at every location')
    settings = dict(type='kd_plugins.LogitDistiller', logits=f'bbox_head.{layers.scores}', activation='sigmoid')
    if layers.objectness:
        settings['objectness'] = f'bbox_head.{layers.objectness}'
    return dict(settings, weight=pair.warm_up(1.0))


def boxes(pair: Pair) -> Settings:
    """Return the entry of decoded boxes with class scores, for heads without distributions."""
    if has_distributions(pair.student.part('bbox_head') or pair.student.model):
        raise Unsuitable('the head predicts distributions over box edges, which say more than boxes: see localization')
    logits = scores(pair)
    distiller = dict(type='kd_plugins.BoxDistiller', head='bbox_head', weight=pair.warm_up(1.0))
    return dict(distillers=dict(boxes=distiller, logits=logits))


def cross_head(pair: Pair) -> Settings:
    """Return the entry of the teacher's head on the student's features."""
    counts = []
    for role, network in (('student', pair.student), ('teacher', pair.teacher)):
        head = network.part('bbox_head')
        convs = getattr(head, 'cls_convs', None)
        if layers_of(head) is None or not convs or not hasattr(convs[0], 'activate'):
            raise Unsuitable(f'the {role} has no bbox_head whose levels share convolutions, as GFL, ATSS and FCOS have')
        counts.append(len(convs))
    settings = dict(type='kd_plugins.CrossHeadDistiller', index=max(min(counts) - 1, 0), weight=1.0)
    return dict(distillers=dict(cross=settings))
