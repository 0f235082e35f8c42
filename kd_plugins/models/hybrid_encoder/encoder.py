"""Hybrid encoder of RT-DETR and D-FINE: attention on the coarsest map, then a pyramid in both directions.

Sources: RT-DETR (arXiv 2304.08069, section 4.2), lyuwenyu/RT-DETR, Peterande/D-FINE,
``src/zoo/dfine/hybrid_encoder.py``. The order of the cells of maps that are not square is that of transformers 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.layers.transformer import DetrTransformerEncoder
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...errors import ConfigError
from ...ops.memory import contiguous_gradient
from ...registry import MODELS
from ...utils.checks import check_choice, check_integer, check_number, is_integer
from .layers import NORM, SILU, Conv, CSPRepLayer, RepELANBlock, down_layers
from .positions import cell_positions

KEY = 'model.encoder'
FUSIONS = ('elan', 'csp')
GELU: dict[str, Any] = dict(type='GELU')


class IntraScaleAttention(DetrTransformerEncoder):
    """Transformer encoder on the cells of one map (``AIFI``)."""

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Return features of the same shape, (N, C, H, W).

        Args:
            features: (N, C, H, W).
            mask: Padded cells, which no cell sees, (N, H, W); None if no image is padded.
        """
        channels, height, width = (int(size) for size in features.shape[1:])
        positions = cell_positions(height, width, channels, features.device, features.dtype)
        cells = contiguous_gradient(features).flatten(2).transpose(1, 2)
        hidden = None if mask is None else mask.flatten(1)
        cells = super().forward(cells, query_pos=positions[None], key_padding_mask=hidden)
        return cells.transpose(1, 2).unflatten(2, (height, width)).contiguous()


@MODELS.register_module()
class HybridEncoder(BaseModule):
    """Attention within the coarsest map, top-down and bottom-up fusion of all maps, and output projections.

    The maps come from a neck that gives them equal width, such as MMDetection's ``ChannelMapper`` with
    ``kernel_size=1``, ``norm_cfg=dict(type='BN')`` and ``act_cfg=None``. Their height and width may be any; a coarser
    map is enlarged to the size of the finer one.

    Args:
        in_channels: Channels of the maps, fine to coarse; equal, a multiple of 8.
        feedforward_channels: Channels inside the transformer layers.
        expansion: Width of the fusion blocks. An ELAN block has CSP layers of ``expansion / 2`` of the channels, a CSP
            layer RepVGG blocks of ``expansion``.
        num_blocks: RepVGG blocks of each CSP layer: 1 in D-FINE S, 2 in N and M, 3 in L, X and RT-DETR.
        out_channels: Channels of the output, by a 1x1 convolution with norm for each map; ``None`` for those of the
            input, without a convolution.
        fusion: ``'elan'`` for the blocks of D-FINE: ELAN blocks, no activation after lateral convolutions, and
            depthwise downsampling; ``'csp'`` for those of RT-DETR.
        num_heads: Attention heads.
        num_layers: Transformer layers on each map with attention.
        attention_levels: Indices of the maps with attention.
        norm_cfg: Normalisation of the convolutions.
        act_cfg: Activation of the convolutions.
        ffn_act_cfg: Activation of the transformer layers.
        init_cfg: MMEngine's initialisation; by default PyTorch's, as in the released code.

    Raises:
        ConfigError: If an argument is not valid.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feedforward_channels: int = 1024,
        expansion: float = 1.0,
        num_blocks: int = 3,
        out_channels: int | None = None,
        fusion: str = 'elan',
        num_heads: int = 8,
        num_layers: int = 1,
        attention_levels: Sequence[int] = (-1,),
        norm_cfg: dict[str, Any] = NORM,
        act_cfg: dict[str, Any] = SILU,
        ffn_act_cfg: dict[str, Any] = GELU,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        width, levels = check_widths(in_channels)
        for name, value in (('feedforward_channels', feedforward_channels), ('num_layers', num_layers)):
            check_integer(f'{KEY}.{name}', value, 1, 'valid: 1, 2, ...')
        check_integer(f'{KEY}.num_blocks', num_blocks, 0, 'valid: 0, 1, 2, ...')
        check_number(f'{KEY}.expansion', expansion, positive=True, example=1.0)
        check_choice(f'{KEY}.fusion', fusion, FUSIONS)
        check_integer(f'{KEY}.num_heads', num_heads, 1, 'valid: a divisor of the channels, such as 8', width)
        if width % 4 or width % num_heads:
            raise ConfigError(
                f'{KEY}.in_channels has maps of {width} channels; valid: a multiple of 4 and of num_heads, {num_heads}'
            )
        self.attention_levels = check_levels_of_attention(attention_levels, levels)
        self.num_levels, self.embed_dims = levels, width
        self.aifi = nn.ModuleList(
            IntraScaleAttention(num_layers, layer_config(width, num_heads, feedforward_channels, ffn_act_cfg))
            for _ in self.attention_levels
        )
        layers: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        block, lateral_act = (RepELANBlock, None) if fusion == 'elan' else (CSPRepLayer, act_cfg)
        gaps = range(levels - 1)

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(block(2 * width, width, num_blocks, expansion, **layers) for _ in gaps)

        self.lateral_convs = nn.ModuleList(Conv(width, width, 1, norm_cfg=norm_cfg, act_cfg=lateral_act) for _ in gaps)
        self.fpn_blocks = blocks()
        self.downsample_convs = nn.ModuleList(
            down_layers(width, norm_cfg) if fusion == 'elan' else Conv(width, width, 3, stride=2, **layers)
            for _ in gaps
        )
        self.pan_blocks = blocks()
        self.out_channels = width
        self.out_convs: nn.ModuleList | None = None
        if out_channels is not None:
            self.out_channels = check_integer(f'{KEY}.out_channels', out_channels, 1, 'valid: None, 256')
            self.out_convs = nn.ModuleList(Conv(width, out_channels, 1, norm_cfg=norm_cfg) for _ in range(levels))

    def forward(self, maps: Sequence[Tensor], masks: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        """Return the fused maps.

        Args:
            maps: One tensor of shape (N, C, H, W) for each level, fine to coarse.
            masks: Padded cells of each level, (N, H, W), which the attention leaves out; None if no image is padded.

        Raises:
            ConfigError: If their number or their widths are not those of ``in_channels``.
        """
        if len(maps) != self.num_levels:
            raise ConfigError(
                f'{KEY}.in_channels has {self.num_levels} entries, but the neck gives {len(maps)} maps; '
                'give one for each map'
            )
        widths = [int(features.shape[1]) for features in maps]
        if widths != [self.embed_dims] * self.num_levels:
            raise ConfigError(
                f'{KEY}.in_channels has maps of {self.embed_dims} channels, but the neck gives {widths}; '
                'make both equal'
            )
        features = list(maps)
        for attention, level in zip(self.aifi, self.attention_levels):
            features[level] = attention(features[level], None if masks is None else masks[level])
        outputs = self._bottom_up(self._top_down(features))
        if self.out_convs is not None:
            outputs = [conv(output) for conv, output in zip(self.out_convs, outputs)]
        return tuple(outputs)

    def _top_down(self, features: list[Tensor]) -> list[Tensor]:
        """Return the maps, fine to coarse, each with what the coarser ones hold."""
        fused = [features[-1]]
        for lower, lateral, block in zip(features[-2::-1], self.lateral_convs, self.fpn_blocks):
            # The output of the lateral convolution is also what the way back up reads.
            fused[-1] = lateral(fused[-1])
            larger = nn.functional.interpolate(fused[-1], size=lower.shape[2:], mode='nearest')
            fused.append(block(torch.cat([larger, lower], dim=1)))
        return fused[::-1]

    def _bottom_up(self, features: list[Tensor]) -> list[Tensor]:
        """Return the maps, fine to coarse, each with what the finer ones hold."""
        fused = [features[0]]
        for upper, downsample, block in zip(features[1:], self.downsample_convs, self.pan_blocks):
            fused.append(block(torch.cat([downsample(fused[-1]), upper], dim=1)))
        return fused


def layer_config(width: int, num_heads: int, feedforward_channels: int, act_cfg: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of MMDetection's transformer layer, without dropout."""
    attention = dict(embed_dims=width, num_heads=num_heads, dropout=0.0)
    ffn = dict(embed_dims=width, feedforward_channels=feedforward_channels, num_fcs=2, ffn_drop=0.0, act_cfg=act_cfg)
    return dict(self_attn_cfg=attention, ffn_cfg=ffn)


def check_widths(in_channels: Sequence[int]) -> tuple[int, int]:
    """Return the channels of the maps and their number.

    Raises:
        ConfigError: If there are none, or they have different widths.
    """
    listed = isinstance(in_channels, Sequence) and all(is_integer(width) and width > 0 for width in in_channels)
    if not listed or len(set(in_channels)) != 1:
        raise ConfigError(
            f'{KEY}.in_channels is {in_channels!r}; expected the equal channels of the maps of the neck, such as '
            '[256, 256, 256]'
        )
    return in_channels[0], len(in_channels)


def check_levels_of_attention(attention_levels: Sequence[int], levels: int) -> list[int]:
    """Return the indices of the maps with attention, counted from 0.

    Raises:
        ConfigError: If one is not the index of a map, or appears twice.
    """
    listed = isinstance(attention_levels, Sequence) and all(
        is_integer(level) and -levels <= level < levels for level in attention_levels
    )
    indices = [level % levels for level in attention_levels] if listed else [0, 0]
    if len(set(indices)) != len(indices):
        raise ConfigError(
            f'{KEY}.attention_levels is {attention_levels!r}; expected different indices of the {levels} maps, '
            'such as (-1,)'
        )
    return indices


__all__ = ['HybridEncoder', 'IntraScaleAttention', 'check_levels_of_attention', 'check_widths', 'layer_config']
