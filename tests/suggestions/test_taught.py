"""Recipes for a trained teacher: keypoints and proposals, and the reasons where a recipe does not fit."""

import pytest
from torch import nn

from kd_plugins.suggestions import taught
from kd_plugins.suggestions.recipe import Unsuitable

from .networks import pair, part


@pytest.mark.parametrize('name', taught.KEYPOINT_HEADS)
def test_heads_of_keypoints(name):
    entry = taught.keypoints(pair(head=part(name)))['distillers']
    assert entry['keypoints']['type'] == f'kd_plugins.{taught.KEYPOINT_HEADS[name]}'
    assert entry['features']['reduction'] == 'sum'


def test_a_pose_network_without_a_map_still_gets_the_keypoints():
    assert list(taught.keypoints(pair(features=None, head=part('RLEHead')))['distillers']) == ['keypoints']


def test_proposals_of_a_two_stage_detector():
    entry = taught.rois(pair(roi_head=part('StandardRoIHead', 'BaseRoIHead')))['distillers']
    assert entry['rois']['type'] == 'kd_plugins.RoIDistiller'


@pytest.mark.parametrize('recipe', taught.TAUGHT, ids=lambda recipe: recipe.name)
def test_every_recipe_says_why_it_does_not_fit(recipe):
    with pytest.raises(Unsuitable, match=r'\w+ \w+'):
        recipe.settings(pair(features=None, encoder=nn.Identity()))


def test_names_are_unique():
    assert len({recipe.name for recipe in taught.TAUGHT}) == len(taught.TAUGHT)
