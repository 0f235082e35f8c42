"""Weights of a checkpoint against those of the model that loads them."""

import pytest
import torch

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.runner.weights import FUSED, check_weights, fit_structure, load_trained


def test_a_checkpoint_that_leaves_parameters_random_is_refused():
    model = torch.nn.Linear(2, 1)
    whole = {'state_dict': model.state_dict()}
    assert check_weights(model, whole, 'x.pth') == []
    with pytest.raises(CheckpointError, match=r"lacks 1 of the model's parameters \(first: 'bias'\)"):
        check_weights(model, {'state_dict': {'weight': model.weight.data}}, 'x.pth')
    with pytest.raises(CheckpointError, match=r'shape \(2, 2\).*\(1, 2\)'):
        check_weights(model, {'state_dict': {**whole['state_dict'], 'weight': torch.zeros(2, 2)}}, 'x.pth')


def test_missing_statistics_of_batchnorm_are_refused():
    model = torch.nn.BatchNorm1d(2)
    state = {name: value for name, value in model.state_dict().items() if name != 'running_var'}
    wrapped = torch.nn.Sequential(model)
    saved = {'state_dict': {f'0.{name}': value for name, value in state.items()}}
    with pytest.raises(CheckpointError, match="lacks 1 of .* .first: '0.running_var'"):
        check_weights(wrapped, saved, 'a.pth')


def test_weights_that_the_model_does_not_use_are_a_remark():
    model = torch.nn.Linear(2, 1)
    remarks = check_weights(model, {'state_dict': {**model.state_dict(), 'x': torch.zeros(1)}}, 'x.pth')
    assert remarks == ["'x.pth' holds 1 weights that the model does not use (first: 'x')"]


def test_a_loaded_model_is_in_eval_mode_and_returns_the_meta_of_the_file(tmp_path):
    model, source = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    path = str(tmp_path / 'x.pth')
    torch.save({'state_dict': source.state_dict(), 'meta': {'epoch': 3}}, path)
    assert load_trained(model, path) == {'epoch': 3}
    assert not model.training and torch.equal(model.weight, source.weight)
    with pytest.raises(ConfigError, match="--device: 'warp' cannot be used .*; nearest: 'cpu'"):
        load_trained(model, path, 'warp')


def test_a_model_is_fused_for_the_checkpoint_of_a_fused_one(tmp_path):
    def build(seed):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)).eval()

    source, model, path = build(0), build(1), str(tmp_path / 'x.pth')
    images = torch.rand(1, 1, 3, 3)
    expected = source(images)
    fit_structure(source, {'meta': {}})
    assert isinstance(source[1], torch.nn.BatchNorm2d), 'of an ordinary checkpoint nothing changes'
    fit_structure(source, {'meta': {FUSED: True}})
    torch.save({'state_dict': source.state_dict(), 'meta': {FUSED: True}}, path)
    load_trained(model, path)
    torch.testing.assert_close(model(images), expected)
