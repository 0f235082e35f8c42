"""Weights of convolutions with channels last, and back."""

from __future__ import annotations

import torch
from torch import nn

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
