"""Recipes for segmentors."""

import pytest
from torch import nn

from kd_plugins.suggestions import segmentors
from kd_plugins.suggestions.recipe import Unsuitable

from .networks import pair, part


def head(num_classes=19, **layers):
    made = part('PSPHead', 'BaseDecodeHead', num_classes=num_classes)
    for name, layer in layers.items():
        made.add_module(name, layer)
    return made


def test_pixels_of_a_decode_head():
    assert segmentors.pixels(pair(decode_head=head()))['distillers']['pixels']['logits'] == 'decode_head.conv_seg'
    with pytest.raises(Unsuitable, match='no decode_head'):
        segmentors.pixels(pair(decode_head=nn.Identity()))


def test_two_classes_are_correlated_over_positions_alone():
    assert 'factors' not in segmentors.correlations(pair(decode_head=head()))['distillers']['dist']
    two = segmentors.correlations(pair(decode_head=head(2)))['distillers']['dist']
    assert two['divergence'] == 'dist' and two['factors'] == {'inter': 0.0}


def test_affinities_of_the_last_map_where_it_has_a_name():
    entry = segmentors.affinities(pair(decode_head=head(bottleneck=nn.Identity())))['distillers']
    assert entry['affinity']['student_tap'] == 'decode_head.bottleneck' and 'pixels' in entry
    assert (
        segmentors.affinities(pair(decode_head=head()))['distillers']['affinity']['student_tap'] == 'neck.fpn_convs.*'
    )


def test_the_auxiliary_head_is_the_weak_one():
    auxiliary = head(conv_seg=nn.Identity())
    for found, path in ((auxiliary, 'auxiliary_head'), (nn.ModuleList([auxiliary]), 'auxiliary_head.0')):
        entry = segmentors.own_labels(pair(decode_head=head(), auxiliary_head=found))
        assert entry['teacher'] is None and entry['distillers']['uskd']['weak'] == f'{path}.conv_seg'
    with pytest.raises(Unsuitable, match='no auxiliary_head'):
        segmentors.own_labels(pair(decode_head=head()))
    with pytest.raises(Unsuitable, match='two classes'):
        segmentors.own_labels(pair(decode_head=head(2), auxiliary_head=auxiliary))
