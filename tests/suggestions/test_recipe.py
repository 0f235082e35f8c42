"""What recipes can ask a network, and the taps that they get."""

import pytest

from kd_plugins.suggestions.recipe import Unsuitable

from .networks import pair, part


def test_parts_and_types():
    student = pair(bbox_head=part('MyHead', 'GFLHead')).student
    assert student.has_type('bbox_head', 'GFLHead') and not student.has_type('bbox_head', 'FCOSHead')
    assert not student.has_type('roi_head.bbox_head', 'GFLHead')
    assert student.part('roi_head') is None


def test_a_teacher_with_other_layers_has_its_own_tap():
    assert pair().on_features('FeatureDistiller', kind='mse') == dict(
        type='kd_plugins.FeatureDistiller', student_tap='neck.fpn_convs.*', kind='mse'
    )
    entry = pair(teacher_features='neck.out_convs.*').on_features('FeatureDistiller')
    assert entry['teacher_tap'] == 'neck.out_convs.*'


def test_maps_that_no_layer_gives():
    with pytest.raises(Unsuitable, match='no layer of the student'):
        pair(features=None).on_features('FeatureDistiller')


def test_the_weight_rises_in_the_first_twentieth():
    assert pair().warm_up(2.0) == dict(type='kd_plugins.LinearWarmup', value=2.0, end=0.6, by_epoch=True)
