from __future__ import annotations

import torch

from kd_plugins.distillers.focal_global.attention import attention
from tests.distillers.focal_global.direct import direct_attention, golden_maps


def test_is_the_definition_of_each_image() -> None:
    maps, _ = golden_maps()
    spatial, channel = attention(maps.flatten(2), 0.5)
    for image, one, other in zip(maps, spatial, channel):
        expected = direct_attention(image, 0.5)
        torch.testing.assert_close(one, expected[0].flatten())
        torch.testing.assert_close(other, expected[1])
    torch.testing.assert_close(spatial.mean(1), torch.ones(2))
    torch.testing.assert_close(channel.mean(1), torch.ones(2))


def test_padding_counts_for_nothing() -> None:
    maps, _ = golden_maps()
    padded = torch.cat([maps, torch.full((2, 4, 6, 3), 50.0)], dim=3)
    inside = (torch.arange(11) < 8).expand(2, 6, 11).flatten(1)
    spatial, channel = attention(padded.flatten(2), 0.5, inside)
    expected = attention(maps.flatten(2), 0.5)
    assert (spatial[~inside] == 0).all()
    torch.testing.assert_close(spatial[inside].view(2, -1), expected.spatial)
    torch.testing.assert_close(channel, expected.channel)


def test_means_of_empty_maps() -> None:
    assert attention(torch.zeros(2, 3, 0), 1.0).channel.tolist() == [[1.0] * 3] * 2
    assert not attention(torch.ones(1, 3, 2), 1.0, torch.zeros(1, 2, dtype=torch.bool)).spatial.nan_to_num().any()
    assert attention(torch.zeros(0, 3, 4), 1.0).spatial.shape == (0, 4)
