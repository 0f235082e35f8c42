from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_plugins.distillers import Batch
from kd_plugins.distillers.focal_global.readers import (
    boxes_of_batch,
    maps_on_images,
    masks_of_batch,
    released_boxes_of_batch,
)
from tests.distillers.common import make_batch, sentence
from tests.distillers.focal_global.direct import direct_foreground

LEVELS = [torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4)]
BOXES = [[[10.0, 6.0, 33.0, 20.0], [2.0, 2.0, 46.0, 46.0]], None]
NONE: list[Any] = [None, None]


def masked(masks: Any, shape: tuple[int, int] = (64, 64)) -> Batch:
    batch = make_batch([None] * len(masks), shape)
    for sample, some in zip(batch.data_samples or (), masks):
        if some is not None:
            sample.gt_instances = SimpleNamespace(masks=some)
    return batch


def test_boxes_of_each_level() -> None:
    found = boxes_of_batch(make_batch(BOXES), LEVELS, NONE, 'x')
    for scale, level in zip(found, LEVELS):
        grid = (level.shape[2], level.shape[3])
        torch.testing.assert_close(scale[0], direct_foreground(torch.tensor(BOXES[0]), grid, (64, 64), (64, 64)))
        assert not scale[1].any()


def test_padding_ends_boxes() -> None:
    batch = make_batch(BOXES, img_shape=(64, 34))
    insides = maps_on_images(LEVELS, batch)
    assert [inside[0, 0].tolist() for inside in insides] == [[True] * 5 + [False] * 3, [True] * 3 + [False]]
    for scale, level in zip(boxes_of_batch(batch, LEVELS, insides, 'x'), LEVELS):
        grid = (level.shape[2], level.shape[3])
        torch.testing.assert_close(scale[0], direct_foreground(torch.tensor(BOXES[0]), grid, (64, 34), (64, 64)))
    assert maps_on_images(LEVELS[:1], make_batch(BOXES)) == [None]


def test_released_boxes() -> None:
    whole, padded = make_batch(BOXES), make_batch(BOXES, img_shape=(64, 32))
    ours = boxes_of_batch(whole, LEVELS, NONE, 'x')
    for one, other in zip(ours, released_boxes_of_batch(whole, LEVELS, NONE, 'x')):
        assert torch.equal(one, other)
    stretched = released_boxes_of_batch(padded, LEVELS, NONE, 'x')[0]
    # The first box spans the columns 1 to 5; on half the width it is stretched to 2 to 9, beyond the map.
    assert (ours[0][0, 1] > ours[0][0, 6]).nonzero().flatten().tolist() == [1, 2, 3, 4, 5]
    assert (stretched[0, 1] > stretched[0, 6]).nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 7]


def test_masks_of_tensors_and_of_mmdetection() -> None:
    pixels = torch.zeros(2, 64, 64, dtype=torch.uint8)
    pixels[0, 8:24, 8:40], pixels[1, 30:34, 30:34] = 1, 1
    forms: list[Any] = [pixels]
    structures = pytest.importorskip('mmdet.structures.mask')
    forms.append(structures.BitmapMasks(pixels.numpy(), 64, 64))
    corners = np.array([8.0, 8, 40, 8, 40, 24, 8, 24])
    expected = masks_of_batch(masked([pixels, None]), LEVELS, NONE, 'x')
    assert (expected[0][0] > 0).sum() == 2 * 4 + 4 and expected[0][0, 1, 1] == 1 / 8 and not expected[0][1].any()
    assert (expected[1][0] > 0).sum() == 8 and expected[1][0].unique().tolist() == pytest.approx([0, 1 / 6, 1 / 4])
    for form in forms:
        for one, other in zip(masks_of_batch(masked([form, None]), LEVELS, NONE, 'x'), expected):
            assert torch.equal(one, other)
    polygons = structures.PolygonMasks([[corners]], 64, 64)
    assert (masks_of_batch(masked([polygons, None]), LEVELS, NONE, 'x')[0][0] > 0)[1:3, 1:5].all()


def test_masks_without_the_padding_of_the_batch() -> None:
    pixels = torch.ones(1, 40, 30)
    found = masks_of_batch(masked([pixels, pixels[:0]]), LEVELS, NONE, 'x')[0]
    assert (found[0] > 0).nonzero().max(0).values.tolist() == [4, 3] and (found[0] > 0).sum() == 20
    assert not found[1].any()


def test_sentences() -> None:
    with sentence("x.foreground is 'boxes', and the batch has no gt_instances; .* alpha=0 and beta=0"):
        boxes_of_batch(make_batch([None, None]), LEVELS, NONE, 'x')
    with sentence("x.foreground is 'masks', and gt_instances has no masks; set foreground='boxes'.*with_mask=True"):
        masks_of_batch(make_batch(BOXES), LEVELS, NONE, 'x')
    with sentence("gt_instances has no bboxes; .*foreground='masks'"):
        boxes_of_batch(masked([torch.ones(1, 64, 64), None]), LEVELS, NONE, 'x')
    batch = make_batch(BOXES)
    with sentence('places objects on images'):
        boxes_of_batch(Batch({'points': []}, batch.data_samples), LEVELS, NONE, 'x')


def test_no_images() -> None:
    levels: list[Tensor] = [torch.zeros(0, 3, 8, 8)]
    batch = Batch(torch.zeros(0, 3, 64, 64), [])
    for reader in (boxes_of_batch, released_boxes_of_batch, masks_of_batch):
        assert reader(batch, levels, [None], 'x')[0].shape == (0, 8, 8)
