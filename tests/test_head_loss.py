"""Losses of a model's head on other maps, against the model's own loss."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from kd_plugins.errors import TapError
from kd_plugins.head_loss import losses_on_maps
from kd_plugins.utils.loss_dicts import loss_sum, tensors_of
from kd_plugins.utils.rng import seeded_rng
from tests.distillers.roi_models import model_of
from tests.distillers.two_steps import CONFIGS, small_detector

DETECTORS = ('gfl/gfl_r18_bccd.py', 'dfine/dab-detr_r18_bccd.py', 'faster-rcnn')


def detector(name: str) -> tuple[Any, Any]:
    """A detector in train mode, and a preprocessed batch."""
    from kd_plugins.config.loading import load_config

    model = model_of('faster') if name == 'faster-rcnn' else load_config(str(CONFIGS / name)).model
    network, batch = small_detector(model)
    network.train()
    return network, network.data_preprocessor(copy.deepcopy(batch), True)


@pytest.mark.parametrize('name', DETECTORS)
def test_equals_the_models_own_loss_on_the_same_maps(name: str) -> None:
    network, data = detector(name)
    inputs, samples = data['inputs'], data['data_samples']
    before = copy.deepcopy(samples)
    with seeded_rng(3):
        maps = network.extract_feat(inputs)
        expected = losses_on_maps(network, maps, inputs, samples)
    with seeded_rng(3):
        own = network.loss(inputs, samples)
    assert set(expected) == set(own)
    for key, value in own.items():
        for mine, theirs in zip(tensors_of(expected[key]), tensors_of(value), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    # The ground truth stays as it is, also where a first stage relabels it.
    for mine, theirs in zip(samples, before):
        for name in ('bboxes', 'labels'):
            first, second = (getattr(sample.gt_instances, name) for sample in (mine, theirs))
            assert torch.equal(getattr(first, 'tensor', first), getattr(second, 'tensor', second))
    assert 'extract_feat' not in vars(network)


def test_gradients_go_to_the_head_and_the_maps() -> None:
    network, data = detector(DETECTORS[0])
    with torch.no_grad():
        maps = [x + 1 for x in network.extract_feat(data['inputs'])]
    leaves = [x.requires_grad_() for x in maps]
    loss_sum(losses_on_maps(network, leaves, data['inputs'], data['data_samples'])).backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in leaves)
    assert all(param.grad is not None for param in network.bbox_head.parameters())
    assert all(param.grad is None for name, param in network.named_parameters() if 'bbox_head' not in name)


class Plain(nn.Module):
    """A model whose loss reads its features, or not."""

    def __init__(self, reads: bool = True) -> None:
        super().__init__()
        self.reads = reads

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return (inputs + 1,)

    def loss(self, inputs: Tensor, samples: Any) -> dict[str, Tensor]:
        if samples == 'fail':
            raise ValueError('no labels')
        return {'loss': (self.extract_feat(inputs)[0] if self.reads else inputs).mean()}


def test_the_model_is_the_same_afterwards() -> None:
    model, x = Plain(), torch.zeros(2)
    assert losses_on_maps(model, [x + 5], x, None)['loss'] == 5 and model.loss(x, None)['loss'] == 1
    with pytest.raises(ValueError, match='no labels'):
        losses_on_maps(model, [x], x, 'fail')
    assert 'extract_feat' not in vars(model)
    # A method that the user has put on the object comes back.
    model.extract_feat = own = lambda inputs: (inputs + 7,)
    assert losses_on_maps(model, [x + 5], x, None)['loss'] == 5 and model.extract_feat is own


def test_labels_that_the_loss_replaces_come_back() -> None:
    class Replacing(Plain):
        def loss(self, inputs: Tensor, samples: Any) -> dict[str, Tensor]:
            for sample in samples:
                sample.masks = [mask + 1 for mask in sample.masks]
            return super().loss(inputs, samples)

    samples = [InstanceData(masks=[1, 2])]
    losses_on_maps(Replacing(), [torch.zeros(2)], torch.zeros(2), samples)
    assert samples[0].masks == [1, 2]


def test_models_that_cannot_get_other_maps() -> None:
    with pytest.raises(TapError, match='loss of Plain does not call extract_feat, so its head cannot get other maps'):
        losses_on_maps(Plain(reads=False), [torch.zeros(2)], torch.zeros(2), None)
    with pytest.raises(TapError, match='Linear has no extract_feat'):
        losses_on_maps(nn.Linear(1, 1), [torch.zeros(2)], torch.zeros(2), None)
