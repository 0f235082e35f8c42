"""Modules that run on other tensors than their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import TapError
from kd_plugins.injection import injected


class Levels(nn.Module):
    """A layer that runs once per level, and an activation that overwrites its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Linear(2, 1)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        return [self.last(self.act(self.layer(level))) for level in levels]


def test_calls_get_their_tensors_in_order() -> None:
    model, levels = Levels(), [torch.zeros(1, 2), torch.zeros(1, 2)]
    others = [torch.tensor([[1.0, -1.0]], requires_grad=True), torch.tensor([[-2.0, 3.0]], requires_grad=True)]
    model.requires_grad_(False)
    with injected(model, {'act': [other * 1 for other in others]}):
        outputs = model(levels)
    for output, other in zip(outputs, others):
        torch.testing.assert_close(output, model.last(other.relu()))
    torch.stack(outputs).sum().backward()
    assert others[0].grad is not None and others[0].grad[0, 1] == 0 and others[0].grad[0, 0] == model.last.weight[0, 0]
    assert all(param.grad is None for param in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_counts_must_agree() -> None:
    model, level = Levels(), torch.zeros(1, 2)
    with (
        pytest.raises(TapError, match="'act' is called more often than the 1 times"),
        injected(model, {'act': [level]}),
    ):
        model([level, level])
    with (
        pytest.raises(TapError, match="'act' was called 1 times and has inputs for 2"),
        injected(model, {'act': [level] * 2}),
    ):
        model([level])
    with pytest.raises(TapError, match="'nothing' names no module of Levels"), injected(model, {'nothing': []}):
        pass
    with pytest.raises(TapError, match="'0' is called without a positional argument"):
        plain = nn.Sequential(nn.Identity())
        with injected(plain, {'0': [level]}):
            plain[0](input=level)
    assert not any(module._forward_pre_hooks for net in (model, plain) for module in net.modules())


def test_an_error_of_the_network_passes() -> None:
    model = Levels()
    with pytest.raises(RuntimeError, match='shapes'), injected(model, {'act': []}):
        model([torch.zeros(1, 3)])
    assert not model.act._forward_pre_hooks
