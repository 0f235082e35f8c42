from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.ops.boxes import (
    aligned_iou,
    centers_inside,
    distances_to_boxes,
    expected_distances,
    highest_overlap,
    overlap_of_containing_boxes,
    pairwise_iou,
    to_corners,
)
from kd_plugins.profiling.memory import LiveBytes
from tests.torch_features import LIVE_BYTES


def random_boxes(*shape: int) -> Tensor:
    corner = torch.rand(*shape, 2) * 50
    return torch.cat([corner, corner + torch.rand(*shape, 2) * 30], dim=-1)


def test_iou_is_mmdet() -> None:
    bbox = pytest.importorskip('mmdet.structures.bbox')
    torch.manual_seed(0)
    first, second = random_boxes(2, 40), random_boxes(2, 7)
    torch.testing.assert_close(pairwise_iou(first, second), bbox.bbox_overlaps(first, second))
    other = random_boxes(2, 40)
    torch.testing.assert_close(aligned_iou(first, other), bbox.bbox_overlaps(first, other, is_aligned=True))
    assert (pairwise_iou(first, second) > 0.1).sum() > 10


def test_iou_by_hand() -> None:
    box = torch.tensor([[0.0, 0.0, 4.0, 2.0]])
    others = torch.tensor([[0.0, 0.0, 4.0, 2.0], [2.0, 0.0, 6.0, 2.0], [5.0, 5.0, 6.0, 6.0], [1.0, 1.0, 1.0, 1.0]])
    torch.testing.assert_close(pairwise_iou(box, others), torch.tensor([[1.0, 1 / 3, 0.0, 0.0]]))


def test_boxes_without_area_give_no_nan() -> None:
    zero = torch.zeros(1, 4)
    assert pairwise_iou(zero, zero).tolist() == [[0.0]]
    assert pairwise_iou(torch.zeros(3, 4), torch.zeros(0, 4)).shape == (3, 0)
    turned = torch.tensor([[4.0, 4.0, 0.0, 0.0]])
    assert pairwise_iou(turned, turned).tolist() == [[0.0]]


def test_negative_sides_have_no_area_in_any_overlap() -> None:
    """As ``box_cxcywh_to_xyxy`` of the authors' D-FINE: the box is a line or a point at its centre."""
    boxes = torch.tensor([[5.0, 5.0, -2.0, 4.0], [5.0, 5.0, -2.0, -4.0]])
    corners = to_corners(boxes)
    assert corners.tolist() == [[5.0, 3.0, 5.0, 7.0], [5.0, 5.0, 5.0, 5.0]]
    bbox = pytest.importorskip('mmdet.structures.bbox')
    truth = torch.tensor([[4.0, 3.0, 8.0, 7.0]]).expand(2, 4)
    assert aligned_iou(corners, truth).tolist() == [0.0, 0.0]
    # The hull is the object itself, so GIoU is 0; two negative sides gave an area of 8 before.
    assert bbox.bbox_overlaps(corners, truth, mode='giou', is_aligned=True).tolist() == [0.0, 0.0]


def test_decoding_is_gfl_head() -> None:
    """``Integral`` and ``distance2bbox`` on the locations of the real anchor generator."""
    gfl = pytest.importorskip('mmdet.models.dense_heads.gfl_head')
    from mmdet.structures.bbox import distance2bbox

    logits = torch.randn(30, 4, 17)
    distances = expected_distances(logits)
    torch.testing.assert_close(distances, gfl.Integral(16)(logits.reshape(30, 68)))
    centers = torch.rand(30, 2) * 64
    torch.testing.assert_close(distances_to_boxes(centers, distances), distance2bbox(centers, distances))


def test_expected_distances_of_sure_edges() -> None:
    logits = torch.full((1, 4, 9), -1e4)
    for edge, distance in enumerate([0, 3, 8, 5]):
        logits[0, edge, distance] = 1e4
    assert expected_distances(logits).tolist() == [[0.0, 3.0, 8.0, 5.0]]


def test_centers_inside_is_strict() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    assert centers_inside(points, boxes).tolist() == [[False, False], [True, False], [False, False], [False, False]]


def dense(locations: int, objects: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return locations, a box of each, and boxes without area for the half of two images."""
    torch.manual_seed(0)
    boxes = random_boxes(2, objects)
    boxes[1, objects // 2 :] = 0
    return torch.rand(locations, 2) * 60, random_boxes(2, locations), boxes


@pytest.mark.parametrize('pairs', [1, 17, 100, 10**6])
@pytest.mark.parametrize('objects', [2, 9])
def test_parts_give_the_values_of_the_whole(pairs: int, objects: int) -> None:
    centers, predicted, boxes = dense(50, objects)
    inside = centers_inside(centers, boxes)
    expected = (pairwise_iou(predicted, boxes) * inside).amax(dim=-1)
    overlap, contained = overlap_of_containing_boxes(centers, predicted, boxes, pairs)
    assert torch.equal(overlap, expected) and torch.equal(contained, inside.any(dim=-1))
    assert 0 < contained.sum() < contained.numel()
    none = overlap_of_containing_boxes(centers, predicted[:0], boxes[:0], pairs)
    assert [part.shape for part in none] == [(0, len(centers))] * 2


@LIVE_BYTES
def test_memory_does_not_grow_with_the_number_of_pairs() -> None:
    peaks = []
    for objects in (100, 400):
        tensors = dense(2000, objects)
        with LiveBytes(list(tensors)) as live:
            before = live.now
            overlap_of_containing_boxes(*tensors, pairs=2**14)
        peaks.append(live.peak - before)
    # A matrix of floats with one entry for each pair would take 6.4 MB.
    assert peaks[1] < 1.1 * peaks[0] < 1e6


def test_highest_overlap_in_its_image() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 3, 2, generator=generator)
    truths = torch.cat([corners, corners + 0.5], dim=-1)
    truths[1, 2] = 0
    boxes = torch.cat([torch.rand(9, 2, generator=generator), torch.rand(9, 2, generator=generator) + 1], dim=-1)
    images = torch.arange(9) % 2
    overlap, index = highest_overlap(boxes, images, truths)
    for row in range(9):
        expected = pairwise_iou(boxes[row : row + 1], truths[images[row]])[0]
        assert overlap[row] == expected.max() and index[row] == expected.argmax()
    for pairs in (1, 7, 10**6):
        assert all(torch.equal(a, b) for a, b in zip((overlap, index), highest_overlap(boxes, images, truths, pairs)))
    none = highest_overlap(boxes[:0], images[:0], truths)
    assert none[0].shape == none[1].shape == (0,)
