"""Recipes without another network: unlabelled images, levels of one network, and the student's average."""

import pytest
from torch import nn

from kd_plugins.suggestions import own
from kd_plugins.suggestions.recipe import Network, Unsuitable

from .networks import GFL, RTMDET, STEPS, pair, part


def test_the_pipeline_loses_its_labels_and_the_steps_that_need_them():
    entry = own.unlabelled_scores(pair(bbox_head=GFL, pipeline=STEPS))
    pipeline = entry['unlabelled']['dataloader']['dataset']['pipeline']
    assert [step['type'] for step in pipeline] == ['LoadImageFromFile', 'mmdet.Resize', 'PackDetInputs']


def test_all_distillers_look_at_the_unlabelled_images_alone():
    for head in (GFL, RTMDET):
        entry = own.unlabelled_scores(pair(bbox_head=head, pipeline=STEPS))
        assert {distiller['on'] for distiller in entry['distillers'].values()} == {'unlabelled'}
        assert all('select' in distiller for distiller in entry['distillers'].values())
        assert entry['unlabelled']['weight']['begin'] == 4.0


def test_queries_have_a_lower_threshold_than_proposals():
    queries = own.pseudo_labels(pair(bbox_head=part('DINOHead', 'DETRHead')))
    proposals = own.pseudo_labels(pair(roi_head=nn.Identity()))
    assert queries['unlabelled']['pseudo']['score_thr'] < proposals['unlabelled']['pseudo']['score_thr']
    assert not queries['distillers']


def test_pixels_are_mixed():
    entry = own.unlabelled_pixels(pair(decode_head=part('FCNHead', 'BaseDecodeHead')))
    assert entry['student_view']['type'] == 'kd_plugins.CutMix'
    assert entry['distillers']['pixels']['target'] == 'hard'


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
