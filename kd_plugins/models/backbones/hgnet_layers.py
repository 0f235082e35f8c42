"""Layers of HGNetV2: convolutions with a learnable affine block, stem, blocks and stages.

Source: PaddleDetection's PP-HGNetV2 and Peterande/D-FINE, ``src/nn/backbone/hgnetv2.py``. The names of parameters are
those of the released files and of timm. Shapes: N images, C channels, height H, width W.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class StageSpec(NamedTuple):
    """Size of a stage.

    Attributes:
        in_channels: Channels of its input.
        mid_channels: Channels of each layer of a block.
        out_channels: Channels of its output.
        num_blocks: Number of blocks.
        num_layers: Number of layers of a block.
        kernel_size: Kernel size of the layers.
        light: Whether a layer is a 1x1 convolution and a depthwise one.
        downsample: Whether the stage halves height and width.
    """

    in_channels: int
    mid_channels: int
    out_channels: int
    num_blocks: int
    num_layers: int
    kernel_size: int
    light: bool
    downsample: bool


class LearnableAffine(nn.Module):
    """Scale and shift by two learned numbers, ``scale * x + bias``."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return self.scale * x + self.bias


class ConvNorm(nn.Module):
    """Convolution without bias, BatchNorm and, with ``activate``, ReLU and a :class:`LearnableAffine` block.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size; an even kernel has no padding of its own.
        stride: Stride.
        groups: Groups of the convolution.
        activate: Whether ReLU follows.
        use_lab: Whether a :class:`LearnableAffine` block follows the ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
        use_lab: bool = False,
    ) -> None:
        super().__init__()
        padding = (kernel_size - 1) // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=padding, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU() if activate else nn.Identity()
        self.lab = LearnableAffine() if activate and use_lab else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, out_channels, H / stride, W / stride)."""
        return self.lab(self.act(self.bn(self.conv(x))))


class LightConvNorm(nn.Module):
    """A 1x1 convolution without activation, then a depthwise convolution with one.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Kernel size of the depthwise convolution.
        use_lab: See :class:`ConvNorm`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, use_lab: bool) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels, 1, activate=False)
        self.conv2 = ConvNorm(out_channels, out_channels, kernel_size, groups=out_channels, use_lab=use_lab)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, out_channels, H, W)."""
        return self.conv2(self.conv1(x))


class Stem(nn.Module):
    """Stem of stride 4 with two branches: two 2x2 convolutions, and max pooling.

    Args:
        mid_channels: Channels between the layers; even.
        out_channels: Channels of the output.
        use_lab: See :class:`ConvNorm`.
    """

    def __init__(self, mid_channels: int, out_channels: int, use_lab: bool) -> None:
        super().__init__()
        self.stem1 = ConvNorm(3, mid_channels, 3, stride=2, use_lab=use_lab)
        self.stem2a = ConvNorm(mid_channels, mid_channels // 2, 2, use_lab=use_lab)
        self.stem2b = ConvNorm(mid_channels // 2, mid_channels, 2, use_lab=use_lab)
        self.stem3 = ConvNorm(2 * mid_channels, mid_channels, 3, stride=2, use_lab=use_lab)
        self.stem4 = ConvNorm(mid_channels, out_channels, 1, use_lab=use_lab)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=1, ceil_mode=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, out_channels, H / 4, W / 4) of images (N, 3, H, W)."""
        first = pad_end(self.stem1(images))
        second = self.stem2b(pad_end(self.stem2a(first)))
        return self.stem4(self.stem3(torch.cat([self.pool(first), second], dim=1)))


def pad_end(x: Tensor) -> Tensor:
    """Add a column of zeros on the right and a row below, so that a 2x2 kernel keeps height and width."""
    return nn.functional.pad(x, (0, 1, 0, 1))


class Block(nn.Module):
    """Layers in a row whose outputs are concatenated with the input and reduced by two 1x1 convolutions.

    Args:
        in_channels: Channels of the input.
        spec: Size of the stage.
        residual: Whether the input is added to the output.
        use_lab: See :class:`ConvNorm`.
    """

    def __init__(self, in_channels: int, spec: StageSpec, residual: bool, use_lab: bool) -> None:
        super().__init__()
        self.residual = residual
        width, layer = spec.mid_channels, LightConvNorm if spec.light else ConvNorm
        inputs = [in_channels, *[width] * (spec.num_layers - 1)]
        self.layers = nn.ModuleList(layer(channels, width, spec.kernel_size, use_lab=use_lab) for channels in inputs)
        half = spec.out_channels // 2
        self.aggregation = nn.Sequential(
            ConvNorm(in_channels + spec.num_layers * width, half, 1, use_lab=use_lab),
            ConvNorm(half, spec.out_channels, 1, use_lab=use_lab),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, out_channels, H, W)."""
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        merged = self.aggregation(torch.cat(outputs, dim=1))
        return merged + x if self.residual else merged


class Stage(nn.Module):
    """Depthwise downsampling where the stage has one, and blocks of which all but the first are residual.

    Args:
        spec: Size of the stage.
        use_lab: See :class:`ConvNorm`.
    """

    def __init__(self, spec: StageSpec, use_lab: bool) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if spec.downsample:
            width = spec.in_channels
            self.downsample = ConvNorm(width, width, 3, stride=2, groups=width, activate=False)
        inputs = [spec.in_channels, *[spec.out_channels] * (spec.num_blocks - 1)]
        self.blocks = nn.Sequential(
            *(Block(channels, spec, index > 0, use_lab) for index, channels in enumerate(inputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of half the height and width, or of the same in the first stage."""
        return self.blocks(self.downsample(x))


__all__ = ['Block', 'ConvNorm', 'LearnableAffine', 'LightConvNorm', 'Stage', 'StageSpec', 'Stem', 'pad_end']
