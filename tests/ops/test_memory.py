"""Memory layout of gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.ops.memory import contiguous_gradient


@pytest.mark.parametrize('images', [1, 2])
def test_batch_norm_before_tokens_learns_correctly(images: int) -> None:
    """The gradient of the bias is the sum of the gradients of all tokens."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(128).double()
    tokens = contiguous_gradient(norm(torch.randn(images, 128, 2, 3, dtype=torch.float64))).flatten(2).transpose(1, 2)
    weight = torch.randn_like(tokens)
    (tokens * weight).sum().backward()
    torch.testing.assert_close(norm.bias.grad, weight.sum(dim=(0, 1)))


def test_without_gradient_nothing_is_attached() -> None:
    x = torch.ones(1, 2, 3, 4)
    assert contiguous_gradient(x) is x and not x._backward_hooks
