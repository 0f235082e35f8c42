"""Blocks of the hybrid encoder: widths, and RepVGG blocks as one convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip('mmcv')

from kd_plugins.models.hybrid_encoder.layers import (
    Conv,
    CSPRepLayer,
    RepELANBlock,
    RepVGGBlock,
    down_layers,
    elan_channels,
)
from kd_plugins.models.reparameterization import switch_to_deploy


def with_statistics(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)
    return module.eval()


def test_repvgg_block_becomes_one_convolution() -> None:
    block = with_statistics(RepVGGBlock(6))
    x = torch.randn(2, 6, 5, 7)
    expected = block(x)
    assert torch.equal(expected, nn.functional.silu(block.conv1(x) + block.conv2(x)))
    block.switch_to_deploy()
    names = list(block.state_dict())
    block.switch_to_deploy()
    assert block.deployed and names == list(block.state_dict()) == ['conv.weight', 'conv.bias']
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in block.parameters())


def test_branches_with_another_norm_stay() -> None:
    module = nn.Sequential(RepVGGBlock(6, norm_cfg=dict(type='GN', num_groups=2))).eval()
    x = torch.randn(2, 6, 5, 7)
    expected = module(x)
    assert switch_to_deploy(module) == 0 and not module[0].deployed
    assert torch.equal(module(x), expected)


def test_widths() -> None:
    x = torch.randn(1, 8, 6, 6)
    assert CSPRepLayer(8, 6, 1, expansion=0.5)(x.repeat(2, 1, 1, 1)).shape == (2, 6, 6, 6)
    assert isinstance(CSPRepLayer(8, 6, 0).conv3, nn.Identity)
    block = RepELANBlock(8, 4, 2, expansion=0.5)
    assert block(x.repeat(2, 1, 1, 1)).shape == (2, 4, 6, 6)
    assert block.conv4.in_channels == 8 + 2 * elan_channels(4, 0.5)
    down = with_statistics(down_layers(8))
    assert down(x).shape == (1, 8, 3, 3)
    assert down(x).min() < 0, 'no activation follows'
    assert Conv(8, 2, 3, act_cfg=dict(type='ReLU')).eval()(x).min() >= 0
