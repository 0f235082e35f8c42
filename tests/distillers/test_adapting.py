from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.adapters import MaskedGenerator, PointwiseAdapter
from kd_plugins.distillers import Batch, base
from kd_plugins.distillers.adapting import adapt, make_adapters
from kd_plugins.distillers.locations import positions_on_images
from tests.distillers.common import make_batch, sentence

BATCH = replace(make_batch([None, None]), seed=5, iteration=7)
GENERATOR = {'type': 'kd_plugins.MaskedGenerator', 'mask_ratio': 0.5}


def test_one_adapter_for_each_level() -> None:
    student, teacher = (
        [torch.randn(2, 4, 6, 6), torch.randn(2, 8, 3, 3)],
        [torch.randn(2, 8, 6, 6), torch.randn(2, 8, 3, 3)],
    )
    adapters, adapted = make_adapters('x', 'auto', student, teacher)
    assert [type(adapter) for adapter in adapters] == [PointwiseAdapter, nn.Identity]
    assert [x.shape for x in adapted] == [x.shape for x in teacher] and all(one.training for one in adapters)
    for first, second in zip(adapted, adapt(adapters, student, [None, None], BATCH, 'x')):
        torch.testing.assert_close(first, second)
        assert not first.requires_grad


@pytest.mark.parametrize('bias', [True, False])
def test_bias_of_the_automatic_adapter(bias: bool) -> None:
    adapters, _ = make_adapters('x', 'auto', [torch.zeros(2, 9, 4)], [torch.zeros(2, 9, 8)], channel_dim=-1, bias=bias)
    assert [name for name, _ in adapters.named_parameters()] == ['0.projection.weight', '0.projection.bias'][: 1 + bias]


def test_masks_follow_seed_iteration_rank_distiller_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = [torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16)]
    adapters, _ = make_adapters('distillers.a', GENERATOR, levels, levels)

    def draw(batch: Batch, key: str = 'distillers.a', rank: int = 0) -> list[Tensor]:
        monkeypatch.setattr(base, 'get_rank', lambda: rank)
        state = torch.get_rng_state()
        adapt(adapters, levels, [None, None], batch, key)
        masks = [one.draw(x) for one, x in zip(adapters, levels) if isinstance(one, MaskedGenerator)]
        assert torch.equal(torch.get_rng_state(), state), 'the numbers of the run stay'
        return masks

    first = draw(BATCH)
    assert all(torch.equal(one, other) for one, other in zip(first, draw(BATCH)))
    others = [
        draw(replace(BATCH, seed=6)),
        draw(replace(BATCH, iteration=8)),
        draw(BATCH, key='distillers.b'),
        draw(BATCH, rank=1),
    ]
    drawn = [mask for masks in (first, *others) for mask in masks]
    assert len({tuple(mask.flatten().tolist()) for mask in drawn}) == len(drawn) == 10


def test_an_adapter_for_each_level_whose_channels_differ() -> None:
    student = [torch.randn(2, 4, 3, 3), torch.randn(2, 8, 5, 5)]
    teacher = [torch.randn(2, 8, 3, 3), torch.randn(2, 8, 2, 2)]
    adapters, adapted = make_adapters('x', 'auto', student, teacher)
    assert [type(adapter) for adapter in adapters] == [PointwiseAdapter, nn.Identity] and adapters.training
    assert [tuple(x.shape) for x in adapted] == [(2, 8, 3, 3), (2, 8, 5, 5)]
    assert not any(x.requires_grad for x in adapted)
    torch.testing.assert_close(adapted[0], adapters[0](student[0]).detach())


def test_channels_in_the_last_dimension() -> None:
    adapters, (adapted,) = make_adapters('x', 'auto', [torch.zeros(2, 9, 4)], [torch.zeros(2, 9, 6)], channel_dim=-1)
    assert adapted.shape == (2, 9, 6) and adapters[0].channel_dim == -1


@pytest.mark.parametrize('training', [True, False])
def test_running_statistics_do_not_change(training: bool) -> None:
    class Norm(nn.Sequential):
        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))
            self.train(training)

    from kd_plugins.registry import MODELS

    MODELS.register_module(name='NormAdapter', module=Norm, force=True)
    try:
        adapters, _ = make_adapters('x', {'type': 'NormAdapter'}, [torch.randn(2, 4, 3, 3)], [torch.randn(2, 8, 3, 3)])
    finally:
        MODELS.module_dict.pop('NormAdapter')
    assert not adapters[0][1].running_mean.any() and adapters.training


def test_sentences() -> None:
    student, teacher = [torch.zeros(2, 4, 3, 3)], [torch.zeros(2, 8, 3, 3)]
    with sentence("x.adapter is None, and the student has 4 channels where the teacher has 8; use adapter='auto'"):
        make_adapters('x', None, student, teacher)
    with sentence('x.adapter.in_channels is 5 and the student has 4 channels; use in_channels=4, or leave it out'):
        make_adapters('x', {'type': 'kd_plugins.PointwiseAdapter', 'in_channels': 5}, student, teacher)
    with sentence('x.channel_dim is 4 and a feature has shape .*; valid: 1 to 3'):
        make_adapters('x', 'auto', student, teacher, channel_dim=4)


def test_a_generator_sees_nothing_of_padding() -> None:
    features, batch = torch.randn(2, 3, 4, 8), make_batch([None, None])
    adapters, _ = make_adapters('x', {**GENERATOR, 'mask_ratio': 0.0}, [features], [torch.zeros(2, 5, 4, 8)])
    batch.samples[1].metainfo['img_shape'] = (32, 32)
    (padded,) = adapt(adapters, [features], positions_on_images([features], batch), batch, 'x')
    whole, cut = (adapt(adapters, [x], [None], BATCH, 'x')[0] for x in (features[:1], features[1:, :, :2, :4]))
    torch.testing.assert_close(padded[:1], whole)
    torch.testing.assert_close(padded[1:, :, :2, :4], cut)
