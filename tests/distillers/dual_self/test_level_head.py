"""Heads of levels: upsampling, sharing, hints."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.distillers.dual_self.level_head import LevelHead, LevelHeads, LevelHints
from kd_plugins.distillers.dual_self.level_maps import shrunk
from kd_plugins.errors import ConfigError


@pytest.mark.parametrize('dims', [2, 3])
@pytest.mark.parametrize('times', [0, 1, 2, 3])
def test_transposed_convolution_in_rows(dims: int, times: int) -> None:
    """Rows of any range are those of the release's module: the same transposed convolution, again and again."""
    torch.manual_seed(0)
    head = LevelHead(4, 3, dims).double()
    for param in head.parameters():
        nn.init.normal_(param)
    x = torch.randn(2, 4, *[3] * dims, dtype=torch.float64)
    whole = head.projection(x)
    for _ in range(times):
        whole = head.doubling(whole)
    size = [3 * 2**times] * dims
    torch.testing.assert_close(head(x, size), whole)


@pytest.mark.parametrize('dims', [2, 3])
def test_a_head_starts_as_nearest_neighbour_upsampling(dims: int) -> None:
    head = LevelHead(4, 3, dims)
    x = torch.randn(1, 4, *[2] * dims)
    torch.testing.assert_close(head(x, [8] * dims), F.interpolate(head.projection(x), scale_factor=4))


@pytest.mark.parametrize('upsample', ['deconv', 'interpolate'])
def test_a_larger_level_is_averaged(upsample: str) -> None:
    head = LevelHead(4, 3, 2, upsample)
    x = torch.randn(1, 4, 8, 12)
    torch.testing.assert_close(head(x, (4, 3)), F.adaptive_avg_pool2d(head.projection(x), (4, 3)))
    assert head(x, (8, 12)).equal(head.projection(x))
    assert all(shrunk(x, size) is x for size in ((8, 12), (9, 12), (4, 13)))


@pytest.mark.parametrize('size', [(12, 12), (8, 12), (9, 9), (2, 16)])
def test_no_number_of_doublings(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"no number of doublings leads from 4x4 and .*; use upsample='interpolate'"):
        LevelHead(4, 3, 2)(torch.zeros(1, 4, 4, 4), size)
    assert LevelHead(4, 3, 2, 'interpolate')(torch.zeros(1, 4, 4, 4), size).shape[2:] == size


def test_shared_heads() -> None:
    sizes = [(4, 8, 8), (6, 4, 4), (6, 4, 4), (4, 4, 4), (4, 8, 8)]
    levels = [torch.randn(2, *size) for size in sizes]
    heads = LevelHeads(dict(enumerate(levels)), 3, share=True)
    assert heads.member_of == {0: 0, 1: 1, 2: 1, 3: 2, 4: 0} and len(heads.members) == 3
    logits = heads.project(levels)
    assert logits[1].equal(heads.members[1].projection(levels[1]))
    logits[-1] = torch.randn(2, 3, 4, 4)
    whole = heads.whole(logits, (16, 16))
    torch.testing.assert_close(whole[1], heads.members[1](levels[1], (16, 16)))
    torch.testing.assert_close(whole[-1], F.interpolate(logits[-1], (16, 16), mode='bilinear'))
    assert heads.doublings([0, 4, -1]) == {0: heads.members[0].doubling, 4: heads.members[0].doubling, -1: None}
    assert LevelHeads({0: levels[0]}, 3, 'interpolate').doublings([0]) == {0: None}
    alone = LevelHeads(dict(enumerate(levels)), 3)
    assert len(alone.members) == 5 and alone.members[0].projection.projection.weight.dtype == torch.float32


@pytest.mark.parametrize(('size', 'spatial'), [(1, (1, 1)), (3, (3, 3)), (None, (4, 4)), (9, (4, 4))])
def test_hints(size: int | None, spatial: tuple[int, int]) -> None:
    levels = [torch.randn(2, 5, 16, 16), torch.randn(2, 6, 8, 8), torch.randn(2, 7, 4, 4)]
    hints = LevelHints(levels, size)
    for index, (mapped, deepest, _) in enumerate(hints(levels)):
        assert mapped.shape == deepest.shape == (2, 7, *spatial)
        torch.testing.assert_close(deepest, F.adaptive_avg_pool2d(levels[-1], spatial))
        # The mean before the map is the mean after it.
        torch.testing.assert_close(mapped, F.adaptive_avg_pool2d(hints.members[index](levels[index]), spatial))
