from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers.focal_global.foreground import (
    box_foreground,
    cells_of_boxes,
    cells_of_masks,
    mask_foreground,
    released_cells,
)
from tests.distillers.focal_global.direct import direct_foreground

SIZE, GRID = (96, 128), (12, 16)


def some_boxes(count: int, size: tuple[int, int] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    low = torch.rand(2, count, 2, generator=generator)
    boxes = torch.cat([low, low + 0.4 * torch.rand(2, count, 2, generator=generator)], dim=-1)
    return (8 * boxes * torch.tensor([size[1], size[0]] * 2)).round() / 8


@pytest.mark.parametrize('count', [1, 5, 70, 200])
@pytest.mark.parametrize('grid', [GRID, (5, 7), (1, 1)], ids=str)
def test_is_the_definition_box_by_box(count: int, grid: tuple[int, int]) -> None:
    boxes, images = some_boxes(count), [(96, 128), (70, 90)]
    rows = [[-(-grid[0] * h // SIZE[0]), -(-grid[1] * w // SIZE[1])] for h, w in images]
    limits = torch.tensor(rows, dtype=torch.float32)
    scale = box_foreground(cells_of_boxes(boxes, grid, SIZE, limits), grid)
    for image, some, shape in zip(scale, boxes, images):
        torch.testing.assert_close(image, direct_foreground(some, grid, shape, SIZE))


def test_neither_order_nor_chunks_matter() -> None:
    cells = cells_of_boxes(some_boxes(70), GRID, SIZE)
    shuffled = cells_of_boxes(some_boxes(70)[:, torch.randperm(70)], GRID, SIZE)
    expected = box_foreground(cells, GRID)
    assert torch.equal(expected, box_foreground(shuffled, GRID))
    for chunk in (1, 7, 1000):
        assert torch.equal(expected, box_foreground(cells, GRID, chunk))


def test_boxes_that_contain_no_cell() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 9.0], [500.0, 0.0, 600.0, 9.0], [-9.0, -9, -4, -4]]])
    cells = cells_of_boxes(boxes, GRID, SIZE)
    scale = box_foreground(cells, GRID)
    assert cells.sizes.tolist()[0][:3] == [0.0, 0.0, 0.0]
    # The edge at -4 is rounded outwards to the border of cell 0, as every edge is.
    assert scale[0, 0, 0] == 1 and scale.sum() == 1
    assert not box_foreground(cells_of_boxes(torch.zeros(2, 0, 4), GRID, SIZE), GRID).any()


def test_an_edge_on_the_border_of_a_cell_is_exact() -> None:
    grid, size = (100, 168), (800, 1344)
    edges = torch.arange(167) * 8.0
    boxes = torch.stack([edges, edges.clamp(max=792), edges + 8, (edges + 8).clamp(max=800)], dim=-1)[None]
    columns = cells_of_boxes(boxes, grid, size).columns
    assert torch.equal(columns[0, :, 0], torch.arange(167.0)) and torch.equal(columns[0, :, 1], torch.arange(167.0) + 1)


def test_the_release_stretches_boxes_on_padded_images() -> None:
    boxes = torch.tensor([[[32.0, 32.0, 64.0, 64.0]]] * 2)
    whole, padded = torch.tensor([[96.0, 128.0]] * 2), torch.tensor([[96.0, 128.0], [96.0, 64.0]])
    ours = cells_of_boxes(boxes, GRID, SIZE)
    for part, expected in zip(released_cells(boxes, GRID, whole), ours):
        assert torch.equal(part, expected)
    stretched = released_cells(boxes, GRID, padded)
    assert stretched.columns.tolist() == [[[4.0, 8.0]], [[8.0, 16.0]]] and stretched.sizes.tolist() == [[25.0], [45.0]]


def test_cells_of_masks() -> None:
    masks = torch.zeros(3, 96, 128, dtype=torch.uint8)
    masks[0, 17, 33] = 1
    masks[1, :, :9] = 1
    cells = cells_of_masks(masks, GRID)
    assert cells.shape == (3, *GRID) and cells[0].nonzero().tolist() == [[2, 4]]
    assert cells[1].sum() == 2 * 12 and not cells[2].any()
    assert torch.equal(cells, cells_of_masks(masks, GRID, pixels=1))
    # On a grid that does not divide the image, a pixel belongs to every cell that it touches.
    assert torch.equal(cells_of_masks(masks, (5, 7))[1].any(0), torch.arange(7) < 1)
    assert cells_of_masks(cells[None], (6, 8)).shape == (1, 3, 6, 8)


def test_masks_of_boxes_weigh_like_the_cells_inside() -> None:
    masks = torch.zeros(2, 2, 8, 8)
    masks[0, 0, 1:3, 1:3], masks[0, 1, 2:8, 2:8] = 1, 1
    scale = mask_foreground(masks)
    assert scale[0, 1, 1] == 0.25 and scale[0, 2, 2] == 0.25 and scale[0, 5, 5] == pytest.approx(1 / 36)
    assert not scale[1].any() and torch.equal(scale, mask_foreground(masks, chunk=1))
    assert torch.equal(scale, mask_foreground(masks.flip(1)))
