"""Order of levels by depth."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers.depth import depth_order
from kd_plugins.errors import ConfigError


def maps(*sizes: int) -> list[Tensor]:
    return [torch.zeros(1, 2, size, size) for size in sizes]


@pytest.mark.parametrize(
    ('sizes', 'growing', 'given', 'order'),
    [
        ((8, 4, 2), False, True, [0, 1, 2]),
        ((8, 4, 2), False, False, [0, 1, 2]),
        ((2, 4, 8), False, False, [2, 1, 0]),
        ((2, 4, 8), True, False, [0, 1, 2]),
        ((8, 4, 4), True, False, [2, 1, 0]),
        ((4, 4), False, True, [0, 1]),
        ((4,), True, False, [0]),
    ],
)
def test_depth_follows_the_sizes(sizes: tuple[int, ...], growing: bool, given: bool, order: list[int]) -> None:
    assert depth_order('k', maps(*sizes), growing, given) == order


@pytest.mark.parametrize(
    ('levels', 'growing', 'given', 'sentence'),
    [
        (maps(4, 4), False, False, 'k: all levels have the size 4x4, so that the deepest is unknown'),
        (maps(8, 2, 4), False, True, 'the levels have the sizes 8x8, 2x2, 4x4; .* shrink along an encoder'),
        (maps(8, 4), True, True, 'sizes grow along a decoder'),
        ([torch.zeros(2, 3)], False, True, r'a level has shape \(2, 3\); tap layers whose output is a map'),
        ([*maps(4), torch.zeros(1, 2, 2, 2, 2)], False, True, 'some levels have two spatial axes and some have three'),
    ],
)
def test_sizes_without_an_order(levels: list[Tensor], growing: bool, given: bool, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        depth_order('k', levels, growing, given)
