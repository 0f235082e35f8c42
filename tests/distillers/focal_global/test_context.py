from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.distillers.focal_global.context import GlobalContext


def made(channels: int = 4) -> GlobalContext:
    torch.manual_seed(0)
    block = GlobalContext(channels)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    return block


def test_starts_at_zero_with_a_gradient() -> None:
    block = GlobalContext(4)
    out = block(torch.randn(2, 4, 6))
    assert not out.any()
    out.sum().backward()
    assert block.expand.weight.grad is not None and block.expand.weight.grad.any()


def test_is_the_block_of_convolutions() -> None:
    """Against the layers that the release names: 1x1 convolutions and a LayerNorm of one position."""
    block, x = made(), torch.randn(2, 4, 3, 5)
    pooled = []
    for image in x:
        scores = (block.query[:, None, None] * image).sum(0).flatten().softmax(0)
        pooled.append((image.flatten(1) * scores).sum(1))
    y = torch.stack(pooled)[..., None, None]
    y = nn.functional.conv2d(y, block.reduce.weight[..., None, None], block.reduce.bias)
    y = nn.functional.layer_norm(y, [2, 1, 1], block.norm.weight[:, None, None], block.norm.bias[:, None, None])
    y = nn.functional.conv2d(y.relu(), block.expand.weight[..., None, None], block.expand.bias)
    torch.testing.assert_close(block(x.flatten(2)), y.flatten(1))


def test_padding_counts_for_nothing() -> None:
    block, x = made(), torch.randn(2, 4, 6)
    padded = torch.cat([x, torch.full((2, 4, 3), 9.0)], dim=2)
    inside = (torch.arange(9) < 6).expand(2, 9)
    torch.testing.assert_close(block(padded, inside), block(x))


@pytest.mark.parametrize('padded', [False, True])
def test_gradients(padded: bool) -> None:
    block, x = made().double(), torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    inside = (torch.arange(6) < 4).expand(2, 6) if padded else None
    weights = tuple(block.parameters())
    assert torch.autograd.gradcheck(lambda y, *_: block(y, inside), (x, *weights))
