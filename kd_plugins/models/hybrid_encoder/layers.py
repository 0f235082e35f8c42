"""Convolutional blocks of the hybrid encoder: RepVGG blocks, CSP layers and the ELAN block of D-FINE.

Sources: RT-DETR (arXiv 2304.08069), lyuwenyu/RT-DETR, and Peterande/D-FINE, ``src/zoo/dfine/hybrid_encoder.py``.
Shapes: N images, C channels, height H, width W.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmcv.cnn import ConvModule, build_activation_layer
from torch import Tensor, nn

from ..reparameterization import can_fuse, fuse_conv_norm, pad_kernel

NORM: dict[str, Any] = dict(type='BN')
SILU: dict[str, Any] = dict(type='SiLU')
Cfg = Mapping[str, Any] | None


class Conv(ConvModule):
    """Convolution without bias, norm and activation, initialized with PyTorch's defaults as in the released code.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd kernel size; the padding keeps height and width at stride 1.
        stride: Stride.
        groups: Groups of the convolution.
        norm_cfg: Normalisation.
        act_cfg: Activation; None for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        norm_cfg: Cfg = NORM,
        act_cfg: Cfg = None,
    ) -> None:
        padding = (kernel_size - 1) // 2
        act_cfg = None if act_cfg is None else dict(act_cfg)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, norm_cfg=norm_cfg, act_cfg=act_cfg
        )

    def init_weights(self) -> None:
        """Initialize the weights with PyTorch's defaults."""
        for layer in (self.conv, self.norm):
            if hasattr(layer, 'reset_parameters'):
                layer.reset_parameters()


class RepVGGBlock(nn.Module):
    """Activation of the sum of a 3x3 and a 1x1 convolution, without an identity branch (arXiv 2101.03697).

    Args:
        channels: C.
        norm_cfg: Normalisation of both branches.
        act_cfg: Activation of the sum.
    """

    def __init__(self, channels: int, norm_cfg: Cfg = NORM, act_cfg: Cfg = SILU) -> None:
        super().__init__()
        self.conv1 = Conv(channels, channels, 3, norm_cfg=norm_cfg)
        self.conv2 = Conv(channels, channels, 1, norm_cfg=norm_cfg)
        self.activate = nn.Identity() if act_cfg is None else build_activation_layer(dict(act_cfg))

    @property
    def deployed(self) -> bool:
        """Whether one convolution computes both branches."""
        return hasattr(self, 'conv')

    def switch_to_deploy(self) -> None:
        """Replace both branches by one 3x3 convolution with a bias; a second call changes nothing.

        Branches with another norm than BatchNorm, such as GroupNorm, stay as they are.
        """
        if self.deployed or not (can_fuse(self.conv1.norm) and can_fuse(self.conv2.norm)):
            return
        large, small = (fuse_conv_norm(branch.conv, branch.norm) for branch in (self.conv1, self.conv2))
        assert large.bias is not None and small.bias is not None
        large.weight.data += pad_kernel(small.weight.data, large.kernel_size)
        large.bias.data += small.bias.data
        del self.conv1, self.conv2
        self.conv = large

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, C, H, W)."""
        return self.activate(self.conv(x) if self.deployed else self.conv1(x) + self.conv2(x))


class CSPRepLayer(nn.Module):
    """Cross-stage-partial layer: RepVGG blocks on one 1x1 convolution of the input, added to another one.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        num_blocks: Number of RepVGG blocks.
        expansion: Channels inside, relative to those of the output; if it is not 1, a 1x1 convolution follows.
        norm_cfg: Normalisation.
        act_cfg: Activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        expansion: float = 1.0,
        norm_cfg: Cfg = NORM,
        act_cfg: Cfg = SILU,
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        inner = int(out_channels * expansion)
        self.conv1 = Conv(in_channels, inner, 1, **layers)
        self.conv2 = Conv(in_channels, inner, 1, **layers)
        self.bottlenecks = nn.Sequential(*(RepVGGBlock(inner, **layers) for _ in range(num_blocks)))
        self.conv3 = nn.Identity() if inner == out_channels else Conv(inner, out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, out_channels, H, W)."""
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


class RepELANBlock(nn.Module):
    """D-FINE's fusion block (``RepNCSPELAN4``): two CSP layers in a row, concatenated with both halves of the input.

    Args:
        in_channels: Channels of the input, even.
        out_channels: Channels of the output.
        num_blocks: Number of RepVGG blocks of each CSP layer.
        expansion: Twice the channels of a CSP layer, relative to those of the output.
        norm_cfg: Normalisation.
        act_cfg: Activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        expansion: float = 1.0,
        norm_cfg: Cfg = NORM,
        act_cfg: Cfg = SILU,
    ) -> None:
        super().__init__()
        layers: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        inner = elan_channels(out_channels, expansion)
        self.conv1 = Conv(in_channels, in_channels, 1, **layers)
        self.csp1 = CSPRepLayer(in_channels // 2, inner, num_blocks, **layers)
        self.conv2 = Conv(inner, inner, 3, **layers)
        self.csp2 = CSPRepLayer(inner, inner, num_blocks, **layers)
        self.conv3 = Conv(inner, inner, 3, **layers)
        self.conv4 = Conv(in_channels + 2 * inner, out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, out_channels, H, W)."""
        first, second = self.conv1(x).chunk(2, dim=1)
        third = self.conv2(self.csp1(second))
        fourth = self.conv3(self.csp2(third))
        return self.conv4(torch.cat([first, second, third, fourth], dim=1))


def elan_channels(out_channels: int, expansion: float) -> int:
    """Return the channels of the CSP layers of an ELAN block.

    >>> elan_channels(128, 0.34), elan_channels(256, 0.5)
    (21, 64)
    """
    return round(expansion * out_channels // 2)


def down_layers(channels: int, norm_cfg: Cfg = NORM) -> nn.Sequential:
    """Return D-FINE's downsampling (``SCDown``): a 1x1 convolution, then a depthwise one of stride 2.

    Args:
        channels: C.
        norm_cfg: Normalisation; no activation follows.
    """
    pointwise = Conv(channels, channels, 1, norm_cfg=norm_cfg)
    return nn.Sequential(pointwise, Conv(channels, channels, 3, stride=2, groups=channels, norm_cfg=norm_cfg))


__all__ = ['CSPRepLayer', 'Conv', 'RepELANBlock', 'RepVGGBlock', 'down_layers', 'elan_channels']
