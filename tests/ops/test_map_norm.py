"""Normalisation of maps: PyTorch's layers, padding, and maps of one cell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.ops.map_norm import normalized_channels, normalized_images

LAYERS: list[tuple[Callable[..., Tensor], nn.Module]] = [
    (normalized_images, nn.GroupNorm(1, 5, affine=False)),
    (normalized_channels, nn.InstanceNorm2d(5)),
]


def maps(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 2


@pytest.mark.parametrize(('function', 'layer'), LAYERS)
def test_equals_torch_without_padding(function: Callable[..., Tensor], layer: nn.Module) -> None:
    x = maps(2, 5, 3, 4)
    torch.testing.assert_close(function(x), layer(x))
    torch.testing.assert_close(function(x, x.new_ones(2, 1, 3, 4, dtype=torch.bool)), layer(x))


@pytest.mark.parametrize(('function', 'layer'), LAYERS)
def test_padding_is_left_out(function: Callable[..., Tensor], layer: nn.Module) -> None:
    x, padded = maps(2, 5, 3, 4), maps(2, 5, 5, 6, seed=1)
    padded[:, :, :3, :4] = x
    valid = torch.zeros(2, 1, 5, 6, dtype=torch.bool)
    valid[:, :, :3, :4] = True
    result = function(padded.requires_grad_(), valid)
    torch.testing.assert_close(result[:, :, :3, :4], layer(x))
    assert (result * ~valid == 0).all()
    result.square().mul(maps(2, 5, 5, 6, seed=2)).sum().backward()
    assert padded.grad is not None and (padded.grad * ~valid == 0).all() and padded.grad.abs().sum() > 0


@pytest.mark.parametrize('function', [normalized_images, normalized_channels])
@pytest.mark.parametrize('masked', [True, False])
def test_gradients(function: Callable[..., Tensor], masked: bool) -> None:
    valid = torch.rand(2, 1, 2, 3, generator=torch.Generator().manual_seed(3)) < 0.7 if masked else None
    assert torch.autograd.gradcheck(lambda x: function(x, valid), (maps(2, 3, 2, 3).requires_grad_(),))


def test_small_maps() -> None:
    one = maps(2, 5, 1, 1)
    assert (normalized_channels(one) == 0).all() and normalized_images(one).abs().sum() > 0
    nothing = torch.zeros(2, 1, 3, 4, dtype=torch.bool)
    for function in (normalized_channels, normalized_images):
        assert (function(maps(2, 5, 3, 4), nothing) == 0).all()
        assert function(maps(0, 5, 3, 4)).shape == (0, 5, 3, 4)
