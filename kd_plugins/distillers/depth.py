"""Order of the levels of a network by depth, read from the sizes of their maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from ..errors import ConfigError


def size_text(size: Sequence[int]) -> str:
    """Return a spatial size as text.

    >>> size_text((8, 16))
    '8x16'
    """
    return 'x'.join(map(str, size))


def _monotonic(sizes: Sequence[Sequence[int]], growing: bool) -> bool:
    ordered = sizes if growing else sizes[::-1]
    return all(a <= b for first, second in pairwise(ordered) for a, b in zip(first, second))


def depth_order(key: str, levels: Sequence[Tensor], growing: bool, given: bool) -> list[int]:
    """Return the positions of levels in the order in which the network computes them, the deepest last.

    Along an encoder, maps shrink; along a decoder, they grow.

    Args:
        key: Config key for the error sentence.
        levels: Features (N, C, *spatial).
        growing: Whether they are a decoder's.
        given: Whether the config gives the order. One path for all levels gives none, since networks register their
            modules, and list their outputs, in either order.

    Raises:
        ConfigError: If the sizes contradict the order, or are all equal and no order is given.

    >>> import torch
    >>> depth_order('decoder', [torch.zeros(1, 2, 8, 8), torch.zeros(1, 4, 4, 4)], growing=True, given=False)
    [1, 0]
    """
    for level in levels:
        if level.ndim not in (4, 5):
            raise ConfigError(
                f'{key}: a level has shape {tuple(level.shape)}; tap layers whose output is a map, (N, C, H, W) or '
                '(N, C, D, H, W)'
            )
    if len({level.ndim for level in levels}) > 1:
        raise ConfigError(f'{key}: some levels have two spatial axes and some have three; tap levels of one network')
    sizes = [tuple(level.shape[2:]) for level in levels]
    shown = ', '.join(size_text(size) for size in sizes)
    if len(sizes) > 1 and len(set(sizes)) == 1 and not given:
        raise ConfigError(
            f'{key}: all levels have the size {shown.split(", ")[0]}, so that the deepest is unknown; list their '
            'paths in the order in which the network computes them'
        )
    if _monotonic(sizes, growing):
        return list(range(len(sizes)))
    if _monotonic(sizes, not growing) and not given:
        return list(range(len(sizes)))[::-1]
    rule = 'grow along a decoder, from the bottleneck' if growing else 'shrink along an encoder, from the input'
    raise ConfigError(
        f'{key}: the levels have the sizes {shown}; list them in the order in which the network computes them, in '
        f'which sizes {rule}'
    )
