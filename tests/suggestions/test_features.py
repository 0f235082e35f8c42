"""Recipes for feature maps: weights that depend on the number of levels and on the family of the model."""

import pytest
from torch import nn

from kd_plugins.suggestions import features
from kd_plugins.suggestions.recipe import DEEP, Unsuitable

from .networks import GFL, pair, part

NECK = part('FPN', fpn_convs=nn.ModuleList(nn.Identity() for _ in range(5)))
RECIPES = {
    'mse': features.feature_mse,
    'cwd': features.channel_wise,
    'pkd': features.pearson,
    'mgd': features.generation,
    'fgd': features.focal_global,
    'graphs': features.local_graphs,
}


@pytest.mark.parametrize('name', RECIPES)
def test_a_detector_gets_each_of_them_on_its_pyramid(name):
    (entry,) = RECIPES[name](pair(neck=NECK, bbox_head=GFL))['distillers'].values()
    assert entry['student_tap'] == 'neck.fpn_convs.*'


def test_weights_of_the_releases_count_the_levels():
    def weight(recipe, **parts):
        (entry,) = recipe(pair(neck=NECK, **parts))['distillers'].values()
        return entry['weight']['value']

    assert weight(features.pearson, bbox_head=GFL) == 30.0
    assert weight(features.channel_wise, bbox_head=GFL) == 5.0
    assert weight(features.generation, bbox_head=GFL) == pytest.approx(1e-4)
    assert weight(features.generation, roi_head=nn.Identity()) == pytest.approx(2.5e-6)


@pytest.mark.parametrize('name', ['mse', 'cwd', 'pkd', 'graphs'])
def test_weights_for_heatmaps_are_a_tenth(name):
    def weight(**parts):
        (entry,) = RECIPES[name](pair(neck=NECK, **parts))['distillers'].values()
        return entry['weight']['value']

    assert weight(head=part('HeatmapHead')) == pytest.approx(weight(head=part('SimCCHead')) / 10)


def test_two_stages_have_smaller_factors():
    (entry,) = features.focal_global(pair(neck=NECK, roi_head=nn.Identity()))['distillers'].values()
    assert entry['alpha'] == 5e-5


@pytest.mark.parametrize('recipe', [features.generation, features.focal_global])
def test_lidar_and_poses_are_refused(recipe):
    for parts in (dict(voxel_encoder=nn.Identity(), bbox_head=GFL), dict(head=nn.Identity())):
        with pytest.raises(Unsuitable):
            recipe(pair(neck=NECK, **parts))


def test_a_foundation_model_teaches_the_map_of_stride_32(monkeypatch):
    pytest.importorskip('timm')
    settings = features.foundation(pair(neck=NECK, bbox_head=GFL, deep='neck.fpn_convs.2'))
    assert settings['distillers']['tokens']['student_tap'] == 'neck.fpn_convs.2'
    assert settings['teacher']['pool'] * settings['teacher']['patch'] == DEEP
    with pytest.raises(Unsuitable, match='no layer gives the head a map of stride 32'):
        features.foundation(pair(neck=NECK, bbox_head=GFL))
    monkeypatch.setattr(features, 'find_spec', lambda name: None)
    with pytest.raises(Unsuitable, match='timm, which has the network, is not installed'):
        features.foundation(pair(neck=NECK, bbox_head=GFL, deep='neck.fpn_convs.2'))
