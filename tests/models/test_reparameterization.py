"""Fusion of convolutions, norms and branches: equal outputs, once, not trainable."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.models.backbones import HGNetV2
from kd_plugins.models.reparameterization import fuse_conv_norm, norm_pairs, pad_kernel, switch_to_deploy


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


class Named(nn.Module):
    """Children by name, called in the order of the numbers in their names."""

    def __init__(self, **children: nn.Module) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


class Scaled(nn.Conv2d):
    """A convolution that changes its weights."""


def test_pairs_are_convolutions_with_their_norms() -> None:
    conv, norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
    block = Named(conv1=conv, bn1=norm, conv2=conv, bn2=nn.GroupNorm(1, 2), conv3=Scaled(2, 2, 1), bn3=norm, bn4=norm)
    assert norm_pairs(block) == [('conv1', 'bn1')]
    assert norm_pairs(nn.Sequential(conv, norm, nn.ReLU(), norm, conv)) == [('0', '1')]
    assert not norm_pairs(nn.Sequential(conv, nn.BatchNorm2d(2, track_running_stats=False)))
    first = Named(conv=conv, bn=norm)
    assert norm_pairs(first) == [('conv', 'bn')]
    first.order = ('norm', 'conv', 'act')
    assert not norm_pairs(first)


def test_residual_network() -> None:
    pytest.importorskip('mmdet')
    from mmdet.models.backbones import ResNet

    model = ResNet(18, out_indices=(3,))
    randomize(model)
    images = torch.randn(1, 3, 32, 32)
    (expected,) = model(images)
    model.train()
    assert switch_to_deploy(model) == 20 and not model.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert not any(value.requires_grad for value in model.parameters())
    torch.testing.assert_close(model(images)[0], expected, rtol=1e-4, atol=1e-4)


def test_pose_estimator() -> None:
    """MMPose's estimators and blocks have a method of the same name, which does something else."""
    pytest.importorskip('mmpose.models')
    from mmengine.registry import MODELS

    backbone = dict(type='mmpose.ResNet', depth=18, base_channels=8, out_indices=(3,))
    loss = dict(type='mmpose.KeypointMSELoss')
    head = dict(type='mmpose.HeatmapHead', in_channels=64, out_channels=2, deconv_out_channels=None, loss=loss)
    model = randomize(MODELS.build(dict(type='mmpose.TopdownPoseEstimator', backbone=backbone, head=head)))
    images = torch.randn(1, 3, 64, 64)
    expected = model(images, None, mode='tensor')
    assert switch_to_deploy(model) > 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model(images, None, mode='tensor'), expected, rtol=1e-4, atol=1e-4)
