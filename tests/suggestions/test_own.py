"""Recipes without another network: levels of one network, and the student's average."""

import pytest
from torch import nn

from kd_plugins.suggestions import own
from kd_plugins.suggestions.recipe import Network, Unsuitable

from .networks import pair, part


def test_levels_of_a_pyramid():
    entry = own.dual_self(pair(decode_head=nn.Identity(), neck=part('FPN'), backbone=part('ResNet')))
    assert entry['teacher'] is None and entry['distillers']['dsd']['encoder'] == 'backbone.layer*'


def test_unknown_levels_are_named():
    with pytest.raises(Unsuitable, match='levels of MixVisionTransformer'):
        own.dual_self(pair(decode_head=nn.Identity(), backbone=part('MixVisionTransformer')))


def test_the_average_of_the_run_teaches_where_there_is_one():
    assert own.average(Network(nn.Identity(), None, averaged=True))['share'] == 'EMAHook'
    assert 'momentum' in own.average(Network(nn.Identity(), None))


@pytest.mark.parametrize('recipe', own.OWN, ids=lambda recipe: recipe.name)
def test_every_recipe_says_why_it_does_not_fit(recipe):
    with pytest.raises(Unsuitable, match=r'\w+ \w+'):
        recipe.settings(pair(features=None, encoder=nn.Identity()))
