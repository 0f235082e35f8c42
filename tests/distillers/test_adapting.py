from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.adapters import PointwiseAdapter
from kd_plugins.distillers.adapting import make_adapters
from tests.distillers.common import sentence


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
