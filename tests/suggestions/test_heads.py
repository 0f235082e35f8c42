"""Entries for dense heads, and the reasons where there is none."""

import pytest
from torch import nn

from kd_plugins.suggestions import heads
from kd_plugins.suggestions.recipe import Unsuitable

from .networks import GFL, RTMDET, pair, part


def test_a_head_with_distributions_gets_localization_and_no_boxes():
    entry = heads.localization(pair(bbox_head=GFL))['distillers']
    assert entry['logits']['logits'] == 'bbox_head.gfl_cls'
    assert entry['localization']['type'] == 'kd_plugins.LocalizationDistiller'
    with pytest.raises(Unsuitable, match='see localization'):
        heads.boxes(pair(bbox_head=GFL))


def test_a_head_without_distributions_gets_boxes_and_its_objectness():
    entry = heads.boxes(pair(bbox_head=RTMDET))['distillers']
    assert entry['boxes']['head'] == 'bbox_head'
    assert entry['logits']['objectness'] == 'bbox_head.rtm_obj.*'


def test_a_detr_is_told_of_the_detector_with_distributions():
    with pytest.raises(Unsuitable, match='FDRDINO'):
        heads.localization(pair(bbox_head=part('DINOHead', 'DETRHead')))


def test_the_last_convolution_of_a_dense_head():
    convs = nn.ModuleList([part('ConvModule', activate=nn.ReLU()) for _ in range(4)])
    head = part('GFLHead', reg_max=16, prior_generator=None, cls_convs=convs)
    assert heads.cross_head(pair(bbox_head=head))['distillers']['cross']['index'] == 3
    with pytest.raises(Unsuitable, match='the student has no bbox_head whose levels share'):
        heads.cross_head(pair(bbox_head=RTMDET))
