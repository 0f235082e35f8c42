"""Recipes for a trained teacher: the entry of each family of heads, and the reasons of the others."""

import pytest
from torch import nn

from kd_plugins.suggestions import taught
from kd_plugins.suggestions.recipe import Unsuitable

from .networks import GFL, RTMDET, pair, part


def test_a_head_with_distributions_gets_localization_and_no_boxes():
    entry = taught.localization(pair(bbox_head=GFL))['distillers']
    assert entry['logits']['logits'] == 'bbox_head.gfl_cls'
    assert entry['localization']['type'] == 'kd_plugins.LocalizationDistiller'
    with pytest.raises(Unsuitable, match='see localization'):
        taught.boxes(pair(bbox_head=GFL))


def test_a_head_without_distributions_gets_boxes_and_its_objectness():
    entry = taught.boxes(pair(bbox_head=RTMDET))['distillers']
    assert entry['boxes']['head'] == 'bbox_head'
    assert entry['logits']['objectness'] == 'bbox_head.rtm_obj.*'


def test_a_detr_is_told_of_the_detector_with_distributions():
    with pytest.raises(Unsuitable, match='FDRDINO'):
        taught.localization(pair(bbox_head=part('DINOHead', 'DETRHead')))


@pytest.mark.parametrize('name', taught.KEYPOINT_HEADS)
def test_heads_of_keypoints(name):
    entry = taught.keypoints(pair(head=part(name)))['distillers']
    assert entry['keypoints']['type'] == f'kd_plugins.{taught.KEYPOINT_HEADS[name]}'
    assert entry['features']['reduction'] == 'sum'


def test_a_pose_network_without_a_map_still_gets_the_keypoints():
    assert list(taught.keypoints(pair(features=None, head=part('RLEHead')))['distillers']) == ['keypoints']


def test_the_last_convolution_of_a_dense_head():
    convs = nn.ModuleList([part('ConvModule', activate=nn.ReLU()) for _ in range(4)])
    head = part('GFLHead', reg_max=16, prior_generator=None, cls_convs=convs)
    assert taught.cross_head(pair(bbox_head=head))['distillers']['cross']['index'] == 3
    with pytest.raises(Unsuitable, match='the student has no bbox_head whose levels share'):
        taught.cross_head(pair(bbox_head=RTMDET))


def test_proposals_of_a_two_stage_detector():
    entry = taught.rois(pair(roi_head=part('StandardRoIHead', 'BaseRoIHead')))['distillers']
    assert entry['rois']['type'] == 'kd_plugins.RoIDistiller'


@pytest.mark.parametrize('recipe', taught.TAUGHT, ids=lambda recipe: recipe.name)
def test_every_recipe_says_why_it_does_not_fit(recipe):
    with pytest.raises(Unsuitable, match=r'\w+ \w+'):
        recipe.settings(pair(features=None, encoder=nn.Identity()))


def test_names_are_unique():
    assert len({recipe.name for recipe in taught.TAUGHT}) == len(taught.TAUGHT)
