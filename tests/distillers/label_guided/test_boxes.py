"""Boxes of a batch: descriptors, the context, and the cells that they cover."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_plugins.distillers import Batch
from kd_plugins.distillers.label_guided import Boxes, box_descriptors, boxes_of_batch, cells_in_boxes
from tests.distillers.common import sentence
from tests.distillers.label_guided.pictures import labelled_batch

BOXES = [[[0.0, 0.0, 32.0, 16.0], [8.0, 24.0, 24.0, 40.0]], []]
LABELS = [[1, 0], []]


def objects(context: bool = False, reference: bool = False, **options: Any) -> Boxes:
    batch = labelled_batch(BOXES, LABELS, **options)
    return boxes_of_batch(batch, 3, torch.zeros(2, 1), context, 'distillers.x', reference)


def test_padded_objects() -> None:
    found = objects()
    assert found.corners.shape == (2, 2, 4) and found.labels.tolist() == [[1, 0], [-1, -1]]
    assert found.valid.tolist() == [[True, True], [False, False]] and torch.equal(found.real, found.valid)
    assert found.sizes.tolist() == [[64, 64], [64, 64]]
    with_context = objects(context=True, sizes=[(48, 64), (64, 32)])
    assert with_context.corners[:, 0].tolist() == [[0, 0, 64, 48], [0, 0, 32, 64]]
    assert with_context.valid.tolist() == [[True, True, True], [True, False, False]]
    assert with_context.real.tolist() == [[False, True, True], [False, False, False]]


def test_boxes_end_at_the_image() -> None:
    assert objects(sizes=[(12, 20), (64, 64)]).corners[0].tolist() == [[0, 0, 20, 12], [8, 12, 20, 12]]
    batch = labelled_batch([[[0.0, -5.0, 80.0, 64.0]]], [[0]])
    clipped = [
        boxes_of_batch(batch, 3, torch.zeros(1, 1), False, 'x', reference).corners[0, 0].tolist()
        for reference in (False, True)
    ]
    assert clipped == [[0, 0, 64, 64], [0, 0, 63, 63]]


def test_descriptors() -> None:
    found = box_descriptors(objects(context=True, sizes=[(32, 64), (64, 64)]), 3)
    assert found.shape == (2, 3, 7) and not found.requires_grad
    # The image itself, then the boxes relative to it, and their classes.
    assert found[0].tolist() == [
        [-1, -1, 1, 1, -1, -1, -1],
        [-1, -1, 0, 0, -1, 1, -1],
        [-0.75, 0.5, -0.25, 1, 1, -1, -1],
    ]
    assert (found.abs() <= 1).all()
    # The release divides by the size with padding, which depends on the other images of the batch.
    released = box_descriptors(objects(reference=True, sizes=[(32, 64), (64, 64)]), 3)
    assert released[0, 0, :4].tolist() == [-1, -1, 0, -0.5]


def test_cells_by_their_centres() -> None:
    covered = cells_in_boxes(objects(), (8, 8), (64, 64))
    assert covered.shape == (2, 2, 8, 8) and not covered[1].any()
    assert covered[0, 0].nonzero().tolist() == [[row, column] for row in (0, 1) for column in range(4)]
    assert covered[0, 1].nonzero().tolist() == [[3, 1], [3, 2], [4, 1], [4, 2]]
    # The release takes a cell's index for its place: it is off by half a cell.
    released = cells_in_boxes(objects(), (8, 8), (64, 64), reference=True)
    assert released[0, 1].nonzero().tolist() == [[row, column] for row in (3, 4, 5) for column in (1, 2, 3)]


@pytest.mark.parametrize('box', [[30.0, 5.0, 31.0, 60.0], [12.0, 12.0, 12.0, 12.0], [64.0, 64.0, 64.0, 64.0]])
def test_no_object_is_lost(box: list[float]) -> None:
    batch = labelled_batch([[box]], [[0]])
    found = boxes_of_batch(batch, 3, torch.zeros(1, 1), False, 'x')
    for cells in (8, 4, 2, 1):
        covered = cells_in_boxes(found, (cells, cells), (64, 64))[0, 0]
        assert covered.any()
        x, y = ((box[0] + box[2]) / 2 * cells / 64, (box[1] + box[3]) / 2 * cells / 64)
        assert covered[min(int(y), cells - 1), min(int(x), cells - 1)]
    assert not cells_in_boxes(found, (1, 1), (64, 64), reference=True).any() or box[3] == 60.0


def test_cells_on_padding_do_not_count() -> None:
    inside = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    inside[..., :2] = True
    covered = cells_in_boxes(objects(context=True), (8, 8), (64, 64), inside)
    assert torch.equal(covered[:, 0] > 0, inside[:, 0])
    assert covered[0, 1].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_batches_without_labels_are_refused() -> None:
    like = torch.zeros(1, 1)
    words = 'distillers.x: LabelGuidedDistiller encodes boxes with classes'
    only_boxes = SimpleNamespace(metainfo={}, gt_instances=SimpleNamespace(bboxes=torch.zeros(0, 4)))
    for batch in (
        Batch(torch.zeros(1, 3, 8, 8), None),
        Batch(torch.zeros(1, 3, 8, 8), [SimpleNamespace(metainfo={})]),
        Batch(torch.zeros(1, 3, 8, 8), [only_boxes]),
        Batch([torch.zeros(3, 8, 8)], labelled_batch([[]], [[]]).data_samples),
    ):
        with sentence(words):
            boxes_of_batch(batch, 3, like, True, 'distillers.x')
