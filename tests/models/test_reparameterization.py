"""Fusion of convolutions, norms and branches: equal outputs, once, not trainable."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.models.backbones import HGNetV2
from kd_plugins.models.reparameterization import fuse_conv_norm, pad_kernel, switch_to_deploy


def randomize(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
    return model.eval()


def test_convolution_and_norm() -> None:
    norm = randomize(nn.BatchNorm2d(4))
    x = torch.randn(2, 4, 5, 5)
    for conv in (nn.Conv2d(4, 4, 3, stride=2, groups=2, bias=False), nn.Conv2d(4, 4, 1)):
        fused = fuse_conv_norm(conv, norm)
        torch.testing.assert_close(fused(x), norm(conv(x)), rtol=1e-5, atol=1e-5)
        assert fused.stride == conv.stride and not fused.weight.requires_grad
        torch.testing.assert_close(fuse_conv_norm(conv, nn.Identity())(x), conv(x))
    assert pad_kernel(torch.ones(1, 1, 1, 3), (5, 3)).sum(dim=3).flatten().tolist() == [0, 0, 3, 0, 0]


def test_backbone_and_encoder() -> None:
    pytest.importorskip('mmdet')
    from kd_plugins.models.hybrid_encoder import HybridEncoder

    backbone, encoder = HGNetV2('B0', (2, 3)), HybridEncoder([32, 32], 32, num_blocks=2, out_channels=16)
    model = randomize(nn.ModuleDict({'backbone': backbone, 'encoder': encoder}))
    images, maps = torch.randn(1, 3, 64, 64), [torch.randn(1, 32, 6, 8), torch.randn(1, 32, 3, 4)]
    expected = [*backbone(images), *encoder(maps)]
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert norms > 0 and switch_to_deploy(model) > 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    names = list(model.state_dict())
    assert switch_to_deploy(model) == 0 and list(model.state_dict()) == names
    for value, wanted in zip([*backbone(images), *encoder(maps)], expected, strict=True):
        assert (value - wanted).abs().max() < 1e-5 * wanted.abs().max().clamp(min=1)
