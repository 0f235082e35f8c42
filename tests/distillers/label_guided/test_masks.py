"""Masks of instances as objects: shares of cells, pictures, and objects that lost their mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kd_plugins.distillers.label_guided import boxes_of_batch
from kd_plugins.distillers.label_guided.masks import cells_in_masks, mask_pictures, mask_shares
from tests.distillers.common import sentence
from tests.distillers.label_guided.pictures import labelled_batch

BOXES = [[[0.0, 0.0, 32.0, 16.0], [8.0, 24.0, 24.0, 40.0]], []]
SIZE = (64, 64)


def masked_batch(kind: str = 'tensor') -> Any:
    """Two objects in the first image: the left half of its box, and a box whose mask is lost; none in the second."""
    batch = labelled_batch(BOXES, [[1, 0], []])
    masks = torch.zeros(2, *SIZE)
    masks[0, :16, :16] = 1
    for sample, one in zip(batch.data_samples, (masks, masks[:0])):
        sample.gt_instances.masks = one
        if kind == 'bitmap':
            structures = pytest.importorskip('mmdet.structures.mask')
            sample.gt_instances.masks = structures.BitmapMasks(one.byte().numpy(), *SIZE)
    return batch


@pytest.mark.parametrize('kind', ['tensor', 'bitmap'])
def test_shares(kind: str) -> None:
    shares = mask_shares(masked_batch(kind), torch.zeros(2, 1), 'x')
    assert shares.shape == (2, 2, 16, 16)
    assert shares[0, 0].nonzero().tolist() == [[row, column] for row in range(4) for column in range(4)]
    assert shares[0, 0].sum() == 16 and not shares[0, 1].any() and not shares[1].any()


def test_cells_and_pictures() -> None:
    batch, like = masked_batch(), torch.zeros(2, 1)
    shares, boxes = mask_shares(batch, like, 'x'), boxes_of_batch(batch, 3, like, False, 'x')
    for grid in ((8, 8), (4, 4), (32, 32)):
        cells = cells_in_masks(shares, boxes, grid, SIZE)
        step = SIZE[0] // grid[0]
        quarter = torch.zeros(grid)
        quarter[: 16 // step, : 16 // step] = 1
        assert torch.equal(cells[0, 0], quarter)
        # The second mask is lost, so its box stands for it.
        assert cells[0, 1].nonzero().amin(dim=0).tolist() == [24 // step, 8 // step] and not cells[1].any()
    pictures = mask_pictures(shares, boxes, SIZE).unflatten(-1, (7, 7))
    # The mask fills the left half of the box: its edges are blurred by half a cell of the shares.
    assert (pictures[0, 0, :6, :3] == 1).all() and not pictures[0, 0, :, 4:].any() and not pictures[0, 1].any()
    assert (pictures[0, 0, :6, 3] == 0.5).all() and ((pictures[0, 0, 6, :3] > 0.5) & (pictures[0, 0, 6, :3] < 1)).all()


def test_context_and_padding() -> None:
    batch, like = masked_batch(), torch.zeros(2, 1)
    boxes = boxes_of_batch(batch, 3, like, True, 'x')
    shares = torch.nn.functional.pad(mask_shares(batch, like, 'x'), (0, 0, 0, 0, 1, 0))
    inside = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    inside[..., 1:] = False
    cells = cells_in_masks(shares, boxes, (8, 8), SIZE, inside)
    assert torch.equal(cells[:, 0] > 0, inside[:, 0]) and cells[0, 1].nonzero().tolist() == [[0, 0], [1, 0]]
    assert (mask_pictures(shares, boxes, SIZE)[:, 0] == 1).all()


def test_a_batch_without_masks() -> None:
    with sentence('x.masks is True, and the data samples give no gt_instances.masks; use masks=False'):
        mask_shares(labelled_batch(BOXES, [[1, 0], []]), torch.zeros(2, 1), 'x')
