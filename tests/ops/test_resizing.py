"""Maps at another size without their padding."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.distillers.paired import RESIZES, resize_map
from kd_plugins.ops.resizing import replicate_edges, without_padding


def inside_of(sizes: list[tuple[int, int]], grid: tuple[int, int]) -> Tensor:
    rows, columns = (torch.arange(cells) for cells in grid)
    return torch.stack([((rows < h)[:, None] & (columns < w)).flatten() for h, w in sizes])


@pytest.mark.parametrize('size', [(10, 12), (3, 2)], ids=str)
@pytest.mark.parametrize('mode', RESIZES)
def test_padding_is_not_read(mode: str, size: tuple[int, int]) -> None:
    x, inside, resize = torch.randn(2, 3, 5, 6), inside_of([(3, 6), (4, 2)], (5, 6)), partial(resize_map, mode=mode)
    x.requires_grad_()
    actual, reached = without_padding(x, inside, partial(resize, size=size))
    assert reached is not None and reached.shape == (2, size[0] * size[1]) and actual.isfinite().all()
    (gradient,) = torch.autograd.grad(actual.sum(), x)
    assert gradient.flatten(2)[~inside[:, None].expand(-1, 3, -1)].abs().sum() == 0
    ones = torch.ones_like(x)
    assert torch.equal(without_padding(ones, inside, partial(resize, size=size))[0][:, 0].flatten(1) > 0, reached)
    whole, every = without_padding(x, None, partial(resize, size=size))
    assert every is None and torch.equal(whole, resize(x, size))


@pytest.mark.parametrize('mode', RESIZES)
def test_an_image_alone_gives_the_same(mode: str) -> None:
    """Where the scale is the same, the map of an image within padding is that of the image without it."""
    x, inside = torch.randn(1, 3, 4, 6), inside_of([(2, 4)], (4, 6))
    actual, _ = without_padding(x, inside, partial(resize_map, size=(8, 12), mode=mode))
    torch.testing.assert_close(actual[:, :, :4, :8], resize_map(x[:, :, :2, :4], (4, 8), mode))
    mean, _ = without_padding(x, inside, lambda y: F.adaptive_avg_pool2d(y, 1))
    torch.testing.assert_close(mean.flatten(1), x[:, :, :2, :4].mean(dim=(2, 3)))


def test_edges_are_replicated() -> None:
    sizes = [(3, 6), (4, 2), (5, 6)]
    x = torch.randn(3, 2, 5, 6, requires_grad=True)
    actual = replicate_edges(x, inside_of(sizes, (5, 6)))
    for image, (h, w), found in zip(x, sizes, actual):
        torch.testing.assert_close(found, F.pad(image[None, :, :h, :w], (0, 6 - w, 0, 5 - h), mode='replicate')[0])
        whole = F.interpolate(found[None], (10, 12), mode='bilinear')[0, :, : 2 * h, : 2 * w]
        torch.testing.assert_close(whole, F.interpolate(image[None, :, :h, :w], (2 * h, 2 * w), mode='bilinear')[0])
    (gradient,) = torch.autograd.grad(actual.sum(), x)
    torch.testing.assert_close(gradient.sum(), torch.tensor(180.0))
    assert gradient[0, :, 3:].abs().sum() == gradient[1, :, 4:].abs().sum() == gradient[1, ..., 2:].abs().sum() == 0
    assert replicate_edges(x, None) is x and replicate_edges(x[:0], torch.ones(0, 30) > 0).shape == (0, 2, 5, 6)
