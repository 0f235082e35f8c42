from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_plugins.ops.rectangles import erased_sizes, paste_previous, picture_sizes, random_corners, rectangle_mask


def test_mask_is_slicing() -> None:
    corners = torch.tensor([[0, 0], [2, 3], [4, 1], [1, 1]])
    sizes = torch.tensor([[5, 7], [1, 2], [9, 9], [0, 3]])
    masks = rectangle_mask(corners, sizes, (5, 7))
    for mask, (y, x), (height, width) in zip(masks, corners.tolist(), sizes.tolist()):
        expected = torch.zeros(1, 5, 7, dtype=torch.bool)
        expected[:, y : y + height, x : x + width] = True
        assert torch.equal(mask, expected)


def test_sizes_are_those_of_torchvision() -> None:
    """The rule of ``RandomErasing.get_params``, one attempt after the other."""
    generator = torch.Generator().manual_seed(0)
    images = torch.tensor([[20, 30], [30, 20], [6, 90], [3, 4], [1, 50]]).repeat(20, 1)
    areas = 0.02 + 0.9 * torch.rand(len(images), 4, generator=generator)
    ratios = torch.exp(3 * (2 * torch.rand(len(images), 4, generator=generator) - 1))
    sizes = erased_sizes(images, areas, ratios)
    empty = 0
    for (height, width), area, ratio, size in zip(images.tolist(), areas.tolist(), ratios.tolist(), sizes.tolist()):
        expected = [0, 0]
        for share, shape in zip(area, ratio):
            h = round(math.sqrt(height * width * share * shape))
            w = round(math.sqrt(height * width * share / shape))
            if h < height and w < width:
                expected = [h, w]
                break
        assert size == expected
        empty += expected == [0, 0]
    assert 20 <= empty < len(images) / 2  # all of the images with one row


def test_corners_are_uniform_and_inside() -> None:
    uniform = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0))
    uniform[0], uniform[1] = 0, 1 - 2**-24
    sizes, rectangles = torch.tensor([[5, 9]]).expand(4000, 2), torch.tensor([[2, 9]]).expand(4000, 2)
    corners = random_corners(sizes, rectangles, uniform)
    assert corners[:, 1].unique().tolist() == [0]
    counts = corners[:, 0].bincount()
    assert len(counts) == 4 and counts.min() > 850


def test_cells_count_by_their_first_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 20, (50, 2), generator=generator)
    sizes = torch.randint(0, 20, (50, 2), generator=generator)
    pixels = rectangle_mask(corners, sizes, (24, 32))
    for stride in (1, 2, 4, 8):
        cells = rectangle_mask(corners, sizes, (24 // stride, 32 // stride), (24, 32))
        assert torch.equal(cells, pixels[..., ::stride, ::stride])


def test_a_rectangle_of_the_previous_image() -> None:
    maps = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 2, 4).requires_grad_()
    corners = torch.tensor([[0, 2], [0, 0], [2, 6]])
    sizes = torch.tensor([[2, 6], [0, 9], [2, 2]])
    mixed = paste_previous(maps, corners, sizes, (4, 8))
    assert mixed[:, 1].tolist() == [
        [[0.0, 2.0, 2.0, 2.0], [0.0] * 4],
        [[1.0] * 4, [1.0] * 4],
        [[2.0] * 4, [2.0, 2.0, 2.0, 1.0]],
    ]


def test_sizes_of_pictures() -> None:
    inputs = torch.zeros(5, 3, 32, 48)
    sizes: list[dict[str, Any]] = [
        dict(img_shape=(20, 48)),
        dict(img_shape=(30, 100, 3)),  # larger than the input, with channels
        dict(img_shape=(10, 10), input_size=(48, 30), pad_shape=(30, 48)),  # MMPose: size of the file
        dict(),
    ]
    samples = [SimpleNamespace(metainfo=metainfo) for metainfo in sizes]
    assert picture_sizes(inputs, samples).tolist() == [[20, 48], [30, 48], [30, 48], [32, 48], [32, 48]]
    assert picture_sizes(inputs, None).tolist() == [[32, 48]] * 5


def test_sizes_of_mmpose() -> None:
    """Of a top-down crop, ``img_shape`` is the size of the file."""
    structures = pytest.importorskip('mmpose.structures')
    preprocessors = pytest.importorskip('mmpose.models.data_preprocessors')
    sample = structures.PoseDataSample(metainfo=dict(img_shape=(40, 50), input_size=(48, 64)))
    data = dict(inputs=[torch.zeros(3, 64, 48, dtype=torch.uint8)], data_samples=[sample])
    data = preprocessors.PoseDataPreprocessor()(data, training=True)
    assert picture_sizes(data['inputs'], data['data_samples']).tolist() == [[64, 48]]
