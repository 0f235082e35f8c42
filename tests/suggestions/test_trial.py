"""Entries that are tried in one training step of a small detector: those that fit, and the reasons of the others."""

import pytest
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

from kd_plugins.config.loading import load_config
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.suggestions.features import channel_wise, feature_mse
from kd_plugins.suggestions.recipe import Pair, Recipe
from kd_plugins.suggestions.trial import network_of, pipeline_of, suggestions, without_distillation

pytest.importorskip('mmdet')
SMALL = {'model.backbone.base_channels': 8, 'model.neck.in_channels': [8, 16, 32, 64]}
AVERAGE = dict(type='kd_plugins.EMATeacher', momentum=0.01)


@pytest.fixture(scope='module')
def small():
    config = load_config('kd_plugins::gfl/gfl_r18_bccd_ema-ld.py', SMALL)
    return config, network_of(config)


def recipe(name, settings):
    return Recipe(name, name, 'none', 'none', settings)


def test_facts_of_the_training(small):
    _, network = small
    assert network.features == 'neck.fpn_convs.*'
    assert (network.batch_size, network.length, network.by_epoch) == (8, 16, True)
    assert any(step['type'] == 'PackDetInputs' for step in network.pipeline)


@MODELS.register_module(name='SemiForSuggestions', force=True)
class SemiBaseDetector(BaseModel):
    """Stands for MMDetection's class of this name, which takes a batch of several branches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise AssertionError('no batch is given to it')


def test_a_semi_supervised_detector_is_refused():
    config = load_config('kd_plugins::gfl/gfl_r18_bccd.py')
    config.model = dict(type='kd_plugins.SemiForSuggestions')
    with pytest.raises(ConfigError, match="^model.type is 'SemiBaseDetector', a semi-supervised detector"):
        network_of(config)


def test_a_model_without_generated_data_is_a_sentence_without_an_option_of_another_command():
    part = dict(type='Part')
    config = Config(dict(default_scope='mmpretrain', model=part, train_dataloader=part, train_cfg=part))
    config.optim_wrapper = part
    with pytest.raises(
        ConfigError, match="^generated data: default_scope is 'mmpretrain'; data is generated for"
    ) as caught:
        network_of(config)
    assert 'data set' not in str(caught.value)


def test_what_is_refused_leaves_the_others(small):
    config, network = small
    before = config.pretty_text

    def wrong_path(pair):
        return dict(distillers=dict(far=dict(type='kd_plugins.FeatureDistiller', student_tap='neck.no_convs')))

    def silent(pair):
        return dict(distillers=dict(idle=dict(type='kd_plugins.FeatureDistiller', student_tap='data_preprocessor')))

    recipes = [recipe('wrong', wrong_path), recipe('cwd', channel_wise), recipe('mse', feature_mse)]
    recipes.append(recipe('silent', silent))
    found = suggestions(config, recipes, Pair(network, network), AVERAGE)
    assert [entry.recipe.name for entry in found if not entry.reason] == ['cwd', 'mse']
    reasons = {entry.recipe.name: entry.reason for entry in found}
    assert "'neck.no_convs' names no module" in reasons['wrong'] and 'distillers.far' in reasons['wrong']
    assert reasons['silent']
    assert config.pretty_text == before


def test_the_steps_of_wrapped_data_sets_come_first():
    """In MMDetection's YOLOX, the data set loads images and its wrapper mixes them."""
    load, mosaic, pack = (dict(type=name) for name in ('LoadImageFromFile', 'Mosaic', 'PackDetInputs'))
    leaf = dict(type='CocoDataset', pipeline=[load])
    assert pipeline_of(dict(type='MultiImageMixDataset', dataset=leaf, pipeline=[mosaic, pack])) == [load, mosaic, pack]
    joined = dict(type='ConcatDataset', datasets=[dict(leaf, pipeline=[load, pack]), leaf])
    assert pipeline_of(dict(type='RepeatDataset', dataset=joined)) == [load, pack]
    assert pipeline_of({}) == []


def test_the_hook_is_left_out_under_any_name():
    ours, other = dict(type='kd_plugins.DistillHook', distillers={}), dict(type='EMAHook')
    config = Config(dict(default_hooks=dict(kd=ours, distill=None), custom_hooks=[ours, other]))
    plain = without_distillation(config)
    assert plain.default_hooks == {} and plain.custom_hooks == [other] and config.default_hooks.kd == ours
