from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.adapters import MaskedGenerator, PointwiseAdapter, infer_adapter
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS


@pytest.mark.parametrize('spatial', [(), (7,), (5, 6), (2, 5, 6)])
def test_same_map_at_every_position(spatial: tuple[int, ...]) -> None:
    adapter = PointwiseAdapter(3, 4).double()
    x = torch.randn(2, 3, *spatial, dtype=torch.float64)
    weight, bias = adapter.projection.weight, adapter.projection.bias
    expected = torch.einsum('oc,nc...->no...', weight, x) + bias.reshape(-1, *[1] * len(spatial))
    torch.testing.assert_close(adapter(x), expected)


def test_is_a_convolution() -> None:
    adapter, conv = PointwiseAdapter(3, 4), nn.Conv2d(3, 4, 1)
    conv.weight.data.copy_(adapter.projection.weight[:, :, None, None])
    conv.bias.data.copy_(adapter.projection.bias)
    x = torch.randn(2, 3, 5, 6)
    torch.testing.assert_close(adapter(x), conv(x))


@pytest.mark.parametrize('channel_dim', [-1, 2])
def test_channels_last(channel_dim: int) -> None:
    adapter = PointwiseAdapter(3, 4, channel_dim=channel_dim)
    x = torch.randn(2, 7, 3)
    torch.testing.assert_close(adapter(x), adapter.projection(x))
    torch.testing.assert_close(PointwiseAdapter(3, 4, channel_dim=2)(torch.zeros(1, 5, 3, 6)).shape, (1, 5, 4, 6))


def test_gradient_and_empty() -> None:
    adapter = PointwiseAdapter(3, 4)
    adapter(torch.zeros(0, 3, 5, 5)).sum().backward()
    assert all(param.grad is not None for param in adapter.parameters())
    double = PointwiseAdapter(2, 3).double()
    assert torch.autograd.gradcheck(double, (torch.randn(2, 2, 2, 3, dtype=torch.float64, requires_grad=True),))


def test_infer() -> None:
    assert isinstance(infer_adapter((2, 8, 4, 4), (2, 8, 2, 2)), nn.Identity)
    adapter = infer_adapter((2, 9, 8), (2, 9, 16), channel_dim=-1)
    assert isinstance(adapter, PointwiseAdapter) and adapter(torch.zeros(2, 9, 8)).shape == (2, 9, 16)


@pytest.mark.parametrize('ratio', [0.15, 0.65])
def test_share_of_masked_positions(ratio: float) -> None:
    adapter = MaskedGenerator(1, 1, mask_ratio=ratio)
    kept = adapter.draw(torch.zeros(4, 1, 64, 64)).mean().item()
    assert kept == pytest.approx(1 - ratio, abs=0.02)


def test_generator_without_a_mask() -> None:
    adapter = MaskedGenerator(4, 6, mask_ratio=0.0)
    x = torch.randn(2, 4, 5, 6)
    assert adapter.draw(x).eq(1).all()
    torch.testing.assert_close(adapter(x), adapter.generation(adapter.align(x)))
    assert isinstance(MaskedGenerator(4, 4).align, nn.Identity)
    assert adapter(x[:0]).shape == (0, 6, 5, 6)


def test_sentences() -> None:
    with pytest.raises(ConfigError, match="x.adapter.mask is 'channels'; nearest: 'channel'"):
        MaskedGenerator(3, 4, mask='channels', key='x.adapter')
    with pytest.raises(ConfigError, match='x.adapter.mask_ratio is 1.0, which leaves nothing'):
        MaskedGenerator(3, 4, mask_ratio=1.0, key='x.adapter')
    with pytest.raises(ConfigError, match=r'student gives shape \(2, 8, 4, 4\) and the teacher \(2, 8\)'):
        infer_adapter((2, 8, 4, 4), (2, 8))
    with pytest.raises(ConfigError, match='channel_dim is 0'):
        PointwiseAdapter(3, 4, channel_dim=0)


def test_registered() -> None:
    assert isinstance(
        MODELS.build({'type': 'kd_plugins.PointwiseAdapter', 'in_channels': 3, 'out_channels': 4}), PointwiseAdapter
    )
