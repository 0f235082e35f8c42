"""Sizes of D-FINE, told by the shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Size(NamedTuple):
    """Numbers that tell the sizes apart.

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


SIZES = {
    'n': Size(16, 2, 128, 128, 3, 21, 2),
    's': Size(16, 3, 256, 256, 3, 64, 1),
    'm': Size(32, 3, 256, 256, 4, 128, 2),
    'l': Size(48, 3, 256, 256, 6, 128, 3),
    'x': Size(64, 3, 384, 256, 6, 192, 3),
}
"""Of the release; Peterande/D-FINE, ``configs/dfine``."""


SHIPPED = 'kd_plugins::_base_/models/dfine_{}.py'
"""Config of each size."""


def measure(state: Mapping[str, Tensor]) -> Size:
    """Return the size of a detector; a number is 0 where its weights are missing.

    Args:
        state: Name to tensor under the names used here.
    """
    layers = max((int(name.split('.')[2]) + 1 for name in state if name.startswith('decoder.layers.')), default=0)

    def width(name: str) -> int:
        return len(state[name]) if name in state else 0

    def count(pattern: str) -> int:
        return len({match[1] for match in (re.fullmatch(pattern, name) for name in state) if match})

    return Size(
        stem=width('backbone.stem.stem4.conv.weight'),
        levels=count(r'neck\.convs\.(\d+)\.conv\.weight'),
        encoder_width=width('neck.convs.0.conv.weight'),
        decoder_width=width('memory_trans_fc.weight'),
        layers=layers,
        fusion_width=width('encoder.fpn_blocks.0.csp1.conv1.conv.weight'),
        fusion_blocks=count(r'encoder\.fpn_blocks\.0\.csp1\.bottlenecks\.(\d+)\..*'),
    )


def size_name(size: Size) -> str | None:
    """Return ``'n'``, ``'s'``, ``'m'``, ``'l'`` or ``'x'``, ``None`` for another size.

    >>> size_name(Size(48, 3, 256, 256, 6, 128, 3))
    'l'
    """
    return next((name for name, known in SIZES.items() if known == size), None)


def describe(size: Size) -> str:
    """Return a size in words.

    >>> describe(SIZES['n'])
    'D-FINE-N'
    >>> describe(SIZES['n']._replace(layers=4))
    'a D-FINE with a stem of 16 channels, 2 levels, an encoder of 128 and a decoder of 128 channels, 4 decoder layers'
    """
    name = size_name(size)
    if name is not None:
        return f'D-FINE-{name.upper()}'
    return (
        f'a D-FINE with a stem of {size.stem} channels, {size.levels} levels, an encoder of {size.encoder_width} and '
        f'a decoder of {size.decoder_width} channels, {size.layers} decoder layers'
    )


__all__ = ['SHIPPED', 'SIZES', 'Size', 'describe', 'measure', 'size_name']
