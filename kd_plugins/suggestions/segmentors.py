"""Recipes for the class scores and features of segmentors."""

from __future__ import annotations

from torch import nn

from .recipe import Network, Pair, Settings, Unsuitable


def decode_head(network: Network) -> nn.Module:
    """Return the decode head of a segmentor.

    Raises:
        Unsuitable: If the model has none.
    """
    head = network.part('decode_head')
    if head is None or not network.has_type('decode_head', 'BaseDecodeHead'):
        raise Unsuitable('the model has no decode_head, which scores each pixel')
    return head


def _scores(**settings: object) -> Settings:
    return dict(type='kd_plugins.LogitDistiller', logits='decode_head.conv_seg', activation='softmax', **settings)


def pixels(pair: Pair) -> Settings:
    """Return the entry of class scores of pixels."""
    decode_head(pair.student)
    return dict(distillers=dict(pixels=_scores(weight=pair.warm_up(1.0))))


def correlations(pair: Pair) -> Settings:
    """Return the entry of correlated class scores (DIST)."""
    two = getattr(decode_head(pair.student), 'num_classes', 3) < 3
    # The scores of two classes are correlated or not, nothing between.
    options: Settings = dict(factors=dict(inter=0.0)) if two else {}
    return dict(distillers=dict(dist=_scores(divergence='dist', **options, weight=pair.warm_up(1.0))))


def affinities(pair: Pair) -> Settings:
    """Return the entry of class scores with the affinities between positions (CIRKD)."""
    distillers = pixels(pair)['distillers']
    weight = pair.warm_up(1.0)
    if all(network.part('decode_head.bottleneck') is not None for network in (pair.student, pair.teacher)):
        relation: Settings = dict(
            type='kd_plugins.RelationDistiller', student_tap='decode_head.bottleneck', weight=weight
        )
    else:
        relation = pair.on_features('RelationDistiller', weight=weight)
    return dict(distillers=dict(distillers, affinity=relation))


def own_labels(pair: Pair) -> Settings:
    """Return the entry of soft labels from the network and its auxiliary head (USKD)."""
    student = pair.student
    if getattr(decode_head(student), 'num_classes', 3) < 3:
        raise Unsuitable('the model has two classes, and the method ranks the classes without a label')
    weak = next((path for path in ('auxiliary_head', 'auxiliary_head.0') if student.part(f'{path}.conv_seg')), None)
    if weak is None:
        raise Unsuitable('the model has no auxiliary_head with a layer conv_seg')
    uskd = dict(type='kd_plugins.USKDDistiller', weak=f'{weak}.conv_seg', weight=pair.warm_up(1.0))
    return dict(teacher=None, distillers=dict(uskd=uskd))
