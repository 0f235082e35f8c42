"""Candidates for labels, suppression, masks and data samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData

from kd_plugins.pseudo_labels.convert import bitmap_masks, candidates, labelled_sample, not_suppressed


def instances(**changes: Any) -> InstanceData:
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 0.0, 10.0, 9.0], [30.0, 5.0, 30.0, 9.0], [20.0, 5.0, 60.0, 9.0]])
    usual = dict(bboxes=boxes, scores=torch.tensor([0.4, 0.5, 0.9, 0.7]), labels=torch.tensor([1, 1, 0, 2]))
    return InstanceData(**{**usual, **changes})


def test_candidates_are_sorted_clipped_and_have_an_area() -> None:
    found = candidates(instances(), (12, 40), 0.01, None, False, 'pseudo')
    torch.testing.assert_close(found.scores, torch.tensor([0.7, 0.5, 0.4]))
    assert found.bboxes[0].tolist() == [20.0, 5.0, 40.0, 9.0] and found.labels.tolist() == [2, 1, 1]
    assert len(candidates(instances(), (12, 40), 0.01, 0.5, False, 'pseudo')) == 2
    assert len(candidates(instances(), (12, 40), 0.01, None, True, 'pseudo')) == 2, 'the scores sum up to 1.6'
    broken = instances(scores=torch.tensor([float('nan'), 0.5, 0.9, 0.7]))
    assert len(candidates(broken, (12, 40), 0.01, None, False, 'pseudo')) == 2


def test_masks_stay_with_their_boxes() -> None:
    masks = torch.zeros(4, 12, 40, dtype=torch.bool)
    for index in range(4):
        masks[index, index] = True
    found = candidates(instances(masks=masks), (12, 40), 0.01, 0.5, False, 'pseudo')
    assert found.masks.any(dim=2).int().argmax(dim=1).tolist() == [3, 1]


def test_suppression_is_that_of_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = 20 * torch.rand(60, 2, generator=generator)
    boxes = torch.cat([corners, corners + 4 + 8 * torch.rand(60, 2, generator=generator)], dim=1)
    labels = torch.randint(2, (60,), generator=generator)
    ops = pytest.importorskip('mmcv.ops')
    for label in range(2):
        mine = boxes[labels == label][not_suppressed(boxes, labels, 0.4)[labels == label]]
        members = boxes[labels == label]
        kept, _ = ops.nms(members, torch.linspace(1, 0, len(members)), 0.4)
        torch.testing.assert_close(mine, kept[:, :4])
    assert not_suppressed(boxes[:0], labels[:0], 0.5).shape == (0,)


def test_masks_are_cut_and_padded() -> None:
    pytest.importorskip('mmdet')
    made = bitmap_masks(torch.ones(2, 5, 8, dtype=torch.bool), (6, 7))
    assert made.masks.shape == (2, 6, 7) and made.masks.dtype == np.uint8
    assert made.masks[:, :5].all() and not made.masks[:, 5:].any()
    assert bitmap_masks(torch.zeros(0, 0, 0), (6, 7)).masks.shape == (0, 6, 7)


def test_the_sample_is_new() -> None:
    sample = BaseDataElement(metainfo={'img_shape': (12, 40), 'scale_factor': (0.5, 0.5)})
    made = labelled_sample(sample, candidates(instances(), (12, 40), 0.01, None, False, 'pseudo'), with_masks=False)
    assert made.metainfo == sample.metainfo and 'gt_instances' not in sample
    assert sorted(made.gt_instances.keys()) == ['bboxes', 'labels']
