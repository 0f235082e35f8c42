"""Sizes of D-FINE and RT-DETR, told by the shapes of their weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Size(NamedTuple):
    """Numbers that tell the sizes of D-FINE apart.

    Attributes:
        stem: Channels at the end of the backbone's stem.
        levels: Number of feature maps.
        encoder_width: Channels of the encoder.
        decoder_width: Channels of the decoder.
        layers: Number of decoder layers.
        fusion_width: Channels of the CSP layers of the encoder's blocks.
        fusion_blocks: RepVGG blocks of each of them.
    """

    stem: int
    levels: int
    encoder_width: int
    decoder_width: int
    layers: int
    fusion_width: int
    fusion_blocks: int

    @property
    def words(self) -> str:
        """Description of the detector for sentences."""
        return (
            f'a D-FINE with a stem of {self.stem} channels, {self.levels} levels, an encoder of {self.encoder_width} '
            f'and a decoder of {self.decoder_width} channels, {self.layers} decoder layers'
        )


class RTDETRSize(NamedTuple):
    """Numbers that tell the sizes of RT-DETR apart; RT-DETRv2 has the same.

    Attributes:
        blocks: Blocks of each stage of the ResNet.
        bottleneck: Whether each block has three convolutions, not two.
        encoder_width: Channels of the encoder.
        layers: Number of decoder layers.
        fusion_width: Channels of the CSP layers of the encoder.
    """

    blocks: tuple[int, ...]
    bottleneck: bool
    encoder_width: int
    layers: int
    fusion_width: int

    @property
    def words(self) -> str:
        """Description of the detector for sentences."""
        kind = 'bottleneck' if self.bottleneck else 'basic'
        return (
            f'an RT-DETR with {kind} blocks {self.blocks}, an encoder of {self.encoder_width} channels with fusion '
            f'layers of {self.fusion_width}, {self.layers} decoder layers'
        )


AnySize = Size | RTDETRSize

DFINE_SIZES = {
    'n': Size(16, 2, 128, 128, 3, 21, 2),
    's': Size(16, 3, 256, 256, 3, 64, 1),
    'm': Size(32, 3, 256, 256, 4, 128, 2),
    'l': Size(48, 3, 256, 256, 6, 128, 3),
    'x': Size(64, 3, 384, 256, 6, 192, 3),
}
"""Of the release; Peterande/D-FINE, ``configs/dfine``."""
RTDETR_SIZES = {
    'r18vd': RTDETRSize((2, 2, 2, 2), False, 256, 3, 128),
    'r34vd': RTDETRSize((3, 4, 6, 3), False, 256, 4, 128),
    'r50vd_m': RTDETRSize((3, 4, 6, 3), True, 256, 6, 128),
    'r50vd': RTDETRSize((3, 4, 6, 3), True, 256, 6, 256),
    'r101vd': RTDETRSize((3, 4, 23, 3), True, 384, 6, 384),
}
"""Of the release; lyuwenyu/RT-DETR, ``configs/rtdetr`` and ``configs/rtdetrv2``."""
SIZES: dict[str, AnySize] = {**DFINE_SIZES, **RTDETR_SIZES}


def shipped(name: str) -> str:
    """Return the config of the model of a size.

    >>> shipped('n'), shipped('r18vd')
    ('kd_plugins::_base_/models/dfine_n.py', 'kd_plugins::_base_/models/rtdetr_r18vd.py')
    """
    return f'kd_plugins::_base_/models/{"rtdetr" if name in RTDETR_SIZES else "dfine"}_{name}.py'


def measure(state: Mapping[str, Tensor]) -> AnySize:
    """Return the size of a detector; a number is 0 where its weights are missing.

    Args:
        state: Name to tensor under the names used here.
    """
    layers = max((int(name.split('.')[2]) + 1 for name in state if name.startswith('decoder.layers.')), default=0)

    def width(name: str) -> int:
        return len(state[name]) if name in state else 0

    def count(pattern: str) -> int:
        return len({match[1] for match in (re.fullmatch(pattern, name) for name in state) if match})

    if 'backbone.layer1.0.conv1.weight' in state:
        return RTDETRSize(
            blocks=tuple(count(rf'backbone\.layer{stage}\.(\d+)\.conv1\.weight') for stage in range(1, 5)),
            bottleneck='backbone.layer1.0.conv3.weight' in state,
            encoder_width=width('neck.convs.0.conv.weight'),
            layers=layers,
            fusion_width=width('encoder.fpn_blocks.0.conv1.conv.weight'),
        )
    return Size(
        stem=width('backbone.stem.stem4.conv.weight'),
        levels=count(r'neck\.convs\.(\d+)\.conv\.weight'),
        encoder_width=width('neck.convs.0.conv.weight'),
        decoder_width=width('memory_trans_fc.weight'),
        layers=layers,
        fusion_width=width('encoder.fpn_blocks.0.csp1.conv1.conv.weight'),
        fusion_blocks=count(r'encoder\.fpn_blocks\.0\.csp1\.bottlenecks\.(\d+)\..*'),
    )


def size_name(size: AnySize) -> str | None:
    """Return the name of a shipped size, such as ``'n'`` or ``'r50vd'``, ``None`` for another size.

    >>> size_name(Size(48, 3, 256, 256, 6, 128, 3))
    'l'
    """
    return next((name for name, known in SIZES.items() if known == size), None)


def describe(size: AnySize) -> str:
    """Return a size in words.

    >>> describe(SIZES['n']), describe(SIZES['r18vd'])
    ('D-FINE-N', 'RT-DETR r18vd')
    >>> describe(DFINE_SIZES['n']._replace(layers=4))
    'a D-FINE with a stem of 16 channels, 2 levels, an encoder of 128 and a decoder of 128 channels, 4 decoder layers'
    """
    name = size_name(size)
    if name is None:
        return size.words
    return f'D-FINE-{name.upper()}' if isinstance(size, Size) else f'RT-DETR {name}'


__all__ = [
    'DFINE_SIZES',
    'RTDETR_SIZES',
    'SIZES',
    'AnySize',
    'RTDETRSize',
    'Size',
    'describe',
    'measure',
    'shipped',
    'size_name',
]
