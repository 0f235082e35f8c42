"""Weights of convolutions with channels last, and back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmcv import ops
from torch import Tensor, nn

from kd_plugins.utils.memory_format import set_channels_last


def test_only_the_order_of_the_weights_changes() -> None:
    layers = [nn.Conv1d(2, 4, 3), nn.Conv2d(2, 4, 3), nn.ConvTranspose2d(2, 4, 3), nn.Conv3d(2, 4, 3), nn.Linear(2, 4)]
    model = nn.Sequential(*layers)
    params = list(model.parameters())
    values = [param.detach().clone() for param in params]
    set_channels_last(model)
    assert [layer.weight.is_contiguous() for layer in layers] == [True, False, False, False, True]
    assert layers[3].weight.is_contiguous(memory_format=torch.channels_last_3d)
    set_channels_last(model, enabled=False)
    assert all(param.is_contiguous() and torch.equal(param, value) for param, value in zip(params, values))
    assert all(mine is before for mine, before in zip(model.parameters(), params))


class Pooling(nn.Module):
    """An operator that pools regions of a map."""

    def __init__(self, operator: nn.Module, rois: list[list[float]]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.operator = operator
        self.register_buffer('rois', torch.tensor(rois).float())

    def forward(self, x: Tensor) -> Any:
        return self.operator(self.conv(x), rois=self.rois)


class Deforming(nn.Module):
    """A convolution whose offsets, and where it has them masks, come from another one."""

    def __init__(self, operator: nn.Module, *channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.arguments = nn.ModuleList(nn.Conv2d(4, number, 3, padding=1) for number in channels)
        self.operator = operator

    def forward(self, x: Tensor) -> Any:
        x = self.conv(x)
        return self.operator(x, *(argument(x) for argument in self.arguments))


def packed(operator: Any) -> nn.Module:
    """Return an operator with offsets of its own that are not 0."""
    nn.init.normal_(operator.conv_offset.weight, std=0.1)
    return operator


OPERATORS = {
    'RoIAlign': lambda: Pooling(ops.RoIAlign(3, 1.0, 0), [[0, 1, 1, 9, 9], [1, 2, 3, 8, 10]]),
    'RoIAlignRotated': lambda: Pooling(ops.RoIAlignRotated(3, 1.0, 0), [[0, 6, 6, 8, 8, 0.3], [1, 7, 7, 5, 6, 0.1]]),
    'DeformConv2d': lambda: Deforming(ops.DeformConv2d(4, 4, 3, padding=1), 18),
    'DeformConv2dPack': lambda: Deforming(packed(ops.DeformConv2dPack(4, 4, 3, padding=1))),
    'ModulatedDeformConv2d': lambda: Deforming(ops.ModulatedDeformConv2d(4, 4, 3, padding=1), 18, 9),
    'ModulatedDeformConv2dPack': lambda: Deforming(packed(ops.ModulatedDeformConv2dPack(4, 4, 3, padding=1))),
}


@pytest.mark.parametrize('name', list(OPERATORS))
def test_operators_of_mmcv_give_the_same(name: str) -> None:
    """Their kernels would read the map as if its channels came first."""
    torch.manual_seed(0)
    model = OPERATORS[name]().double()
    plain = copy.deepcopy(model)
    for _ in range(2):
        set_channels_last(model)
    assert model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 14, 14, dtype=torch.float64)
    expected, actual = plain(images), model(images)
    torch.testing.assert_close(actual, expected)
    expected.square().sum().backward()
    actual.square().sum().backward()
    torch.testing.assert_close(model.conv.weight.grad, plain.conv.weight.grad)
    assert len(model.operator._forward_pre_hooks) == 1
    # A copy, such as an average of the student, is guarded as well.
    torch.testing.assert_close(copy.deepcopy(model)(images), expected)
