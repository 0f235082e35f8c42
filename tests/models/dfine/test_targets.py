"""Ground truth and pairs as the criterion reads them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

pytest.importorskip('mmdet')

from kd_plugins.models.dfine.matching import Pairs
from kd_plugins.models.dfine.targets import denoising_pairs, flatten, ground_truth, to_device
from tests.models.dfine.common import CLASSES, SHAPE, truths


def test_objects_of_all_images_in_one_row() -> None:
    first = InstanceData(bboxes=torch.tensor([[0.0, 0.0, 80.0, 60.0]]), labels=torch.tensor([3]))
    empty = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    last = InstanceData(
        bboxes=torch.tensor([[10.0, 20.0, 20.0, 40.0], [0.0, 0.0, 20.0, 40.0]]), labels=torch.tensor([1, 0])
    )
    objects = ground_truth([first, empty, last], [(120, 160), (10, 10), (40, 20)], torch.zeros(1))
    assert objects.corners.tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 1, 1]]
    assert objects.labels.tolist() == [3, 1, 0] and objects.numbers.tolist() == [1, 0, 2]
    assert objects.scales.tolist() == [[160, 120, 160, 120], [20, 40, 20, 40], [20, 40, 20, 40]]
    assert objects.corners.dtype == torch.float32


def test_boxes_of_mmdetections_own_type() -> None:
    from mmdet.structures.bbox import HorizontalBoxes

    (plain,) = truths([2])
    wrapped = InstanceData(bboxes=HorizontalBoxes(plain.bboxes), labels=plain.labels)
    actual, expected = (ground_truth([one], [SHAPE], torch.zeros(1)) for one in (wrapped, plain))
    assert torch.equal(actual.corners, expected.corners)


def test_a_batch_without_objects() -> None:
    empty = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    objects = ground_truth([empty, empty], [SHAPE, SHAPE], torch.zeros(1))
    assert objects.corners.shape == (0, 4) and objects.labels.shape == (0,)


def test_pairs_count_through_the_whole_batch() -> None:
    # Two sets of seven queries; images with 1, 0 and 2 objects.
    pairs = Pairs(
        *(
            np.array(values)
            for values in ([0, 0, 0, 1, 1, 1], [0, 2, 2, 0, 2, 2], [6, 0, 3, 5, 1, 2], [0, 1, 0, 0, 0, 1])
        )
    )
    flat = flatten(pairs, 2, 7, np.array([1, 0, 2]))
    assert flat[0].tolist() == [[6, 14, 17], [5, 15, 16]]
    assert flat[1].tolist() == [[0, 2, 1], [0, 1, 2]]


def test_one_transfer_keeps_every_array_apart() -> None:
    arrays = [np.arange(12).reshape(2, 3, 2), np.arange(4).reshape(2, 1, 2), np.zeros((2, 1, 0), np.int64)]
    moved = to_device(arrays, torch.device('cpu'))
    for pairs, array in zip(moved, arrays):
        assert pairs.queries.tolist() == array[0].tolist() and pairs.objects.tolist() == array[1].tolist()


def test_denoising_pairs_are_those_of_mmdetection() -> None:
    from mmdet.models.dense_heads import DINOHead

    numbers, groups = [2, 0, 3], 4
    amount = 2 * groups * max(numbers)
    objects = truths(numbers)
    head = DINOHead.__new__(DINOHead)
    torch.nn.Module.__init__(head)
    head.num_classes = CLASSES
    meta = dict(num_denoising_queries=amount, num_denoising_groups=groups)
    targets = head.get_dn_targets(objects, [dict(img_shape=SHAPE)] * 3, meta)
    queries, rows = denoising_pairs(np.array(numbers), amount, groups)[:, 0]
    labels = torch.full((3 * amount,), CLASSES)
    labels[queries] = torch.cat([item.labels for item in objects])[rows]
    assert torch.equal(labels, torch.cat(targets[0]))
    corners = torch.cat([item.bboxes for item in objects])[rows] / torch.tensor([SHAPE[1], SHAPE[0]] * 2)
    actual = torch.zeros(3 * amount, 4)
    actual[queries] = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    torch.testing.assert_close(actual, torch.cat(targets[2]))


def test_without_groups_there_are_no_pairs() -> None:
    assert denoising_pairs(np.array([2, 1]), 0, 0).shape == (2, 1, 0)
