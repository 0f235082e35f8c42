"""Rows of logits at a larger size, against whole maps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.distillers.dual_self.level_head import LevelHeads
from kd_plugins.distillers.dual_self.level_maps import LevelMaps, cells, doublings, interpolated_rows, upsampled
from kd_plugins.errors import ConfigError

MODES = {2: 'bilinear', 3: 'trilinear'}


@pytest.mark.parametrize(
    ('small', 'large'),
    [((7, 9), (37, 50)), ((5, 4), (5, 9)), ((5, 9, 16), (20, 22, 16)), ((2, 2, 2), (32, 32, 32)), ((1, 3), (8, 3))],
    ids=str,
)
@pytest.mark.parametrize('parts', [1, 3, 1000])
def test_interpolation_in_rows(small: tuple[int, ...], large: tuple[int, ...], parts: int) -> None:
    x = torch.randn(2, 3, *small, dtype=torch.float64, requires_grad=True)
    whole = F.interpolate(x, large, mode=MODES[len(small)], align_corners=False)
    step = max(large[0] // parts, 1)
    actual = [
        interpolated_rows(lambda a, b: x[:, :, a:b], small, at, min(at + step, large[0]), large)
        for at in range(0, large[0], step)
    ]
    torch.testing.assert_close(torch.cat(actual, dim=2), whole)
    direction = torch.randn_like(whole)
    grads = [torch.autograd.grad((y * direction).sum(), x)[0] for y in (torch.cat(actual, dim=2), whole)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('dims', [2, 3])
def test_rows_of_several_levels(dims: int) -> None:
    """Any range of rows holds the values of the whole maps, all in one order of positions."""
    torch.manual_seed(0)
    size = [8] * dims
    levels = {
        at: torch.randn(2, 4, *[side] * dims, dtype=torch.float64) for at, side in ((0, 8), (1, 4), (2, 1), (5, 16))
    }
    heads = LevelHeads(levels, 3)
    for param in heads.parameters():
        nn.init.normal_(param)
    logits = {at: heads.members[heads.member_of[at]].projection(x) for at, x in levels.items()}
    logits[-1] = torch.randn(2, 3, *[5] * dims, dtype=torch.float64)  # of no head: interpolated
    whole = heads.whole(logits, size)
    maps = LevelMaps(logits, size, heads.doublings(logits))
    assert maps.granularity == 2 and maps.doubled == [1, 2]
    positions = torch.arange(8**dims).view(1, 1, *size)
    for start in range(0, 8, 2):
        for stop in range(start + 2, 10, 2):
            rows = maps.rows(start, stop, lambda name, low, high: maps.maps[name][:, :, low:high])
            order = maps.order(positions[:, :, start:stop]).flatten()
            assert sorted(order.tolist()) == positions[:, :, start:stop].flatten().tolist()
            for at, x in whole.items():
                torch.testing.assert_close(rows[at], x.flatten(2)[:, :, order])


def test_rows_without_doublings_stay_in_their_order() -> None:
    logits = {0: torch.randn(1, 3, 5, 7), 1: torch.randn(1, 3, 2, 3)}
    maps = LevelMaps(logits, (5, 7), {0: None, 1: None})
    assert maps.granularity == 1 and not maps.params
    rows = maps.rows(1, 4, lambda name, low, high: maps.maps[name][:, :, low:high])
    assert rows[0].equal(logits[0][:, :, 1:4]) and maps.order(logits[0]) is logits[0]
    torch.testing.assert_close(rows[1], F.interpolate(logits[1], (5, 7), mode='bilinear')[:, :, 1:4])


def test_cells() -> None:
    x = torch.arange(2 * 4 * 6).view(2, 4, 6)
    actual = cells(x, axes=2).view(2, 2, 2, 2, 3)
    for i in range(2):
        for j in range(2):
            assert actual[:, i, j].equal(x[:, i::2, j::2])


@pytest.mark.parametrize(
    ('size', 'target', 'times'), [((4, 5), (4, 5), 0), ((1, 3), (8, 24), 3), ((2, 2, 3), (4, 4, 6), 1)]
)
def test_number_of_doublings(size: tuple[int, ...], target: tuple[int, ...], times: int) -> None:
    assert doublings(size, target) == times


def test_no_number_of_doublings() -> None:
    with pytest.raises(ConfigError, match="k is 'deconv', .* leads from 4x5 and 8x9; use upsample='interpolate'"):
        doublings((4, 5), (8, 9), 'k')


def test_whole_maps_are_doubled_interpolated_or_averaged() -> None:
    doubling = nn.ConvTranspose2d(3, 3, 2, stride=2)
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(upsampled(x, (16, 16), doubling), doubling(doubling(x)))
    torch.testing.assert_close(upsampled(x, (7, 9)), F.interpolate(x, (7, 9), mode='bilinear'))
    torch.testing.assert_close(upsampled(x, (2, 2)), F.avg_pool2d(x, 2))
    assert upsampled(x, (4, 4)) is x
