"""Denoising queries, against transformers' on the same random numbers."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from kd_plugins.models.dfine.native.denoising import DFINEQueryGenerator

CLASSES, DIMS, QUERIES = 5, 8, 7
SHAPE = (100, 200)


def generator(**options: float) -> DFINEQueryGenerator:
    torch.manual_seed(0)
    return DFINEQueryGenerator(CLASSES, DIMS, QUERIES, group_cfg=dict(dynamic=True, num_dn_queries=20), **options)


def samples(numbers: list[int]) -> tuple[list[DetDataSample], list[dict[str, Tensor]]]:
    """Return the same objects for MMDetection and for transformers."""
    random = torch.Generator().manual_seed(3)
    made, targets = [], []
    for number in numbers:
        center = 0.2 + 0.6 * torch.rand(number, 2, generator=random)
        boxes = torch.cat([center, 0.05 + 0.3 * torch.rand(number, 2, generator=random)], dim=1)
        corners = torch.cat([center - boxes[:, 2:] / 2, center + boxes[:, 2:] / 2], dim=1)
        labels = torch.randint(CLASSES, (number,), generator=random)
        sample = DetDataSample(metainfo=dict(img_shape=SHAPE))
        pixels = corners * torch.tensor([SHAPE[1], SHAPE[0]] * 2)
        sample.gt_instances = InstanceData(bboxes=pixels, labels=labels)
        made.append(sample)
        targets.append(dict(boxes=boxes, class_labels=labels))
    return made, targets


def test_equals_transformers_except_where_corners_cross() -> None:
    pytest.importorskip('transformers')
    from transformers.models.d_fine.modeling_d_fine import get_contrastive_denoising_training_group

    made = generator(label_noise_scale=0.5, box_noise_scale=1.0)
    data, targets = samples([2, 0, 3])
    arguments = (targets, CLASSES, QUERIES, made.label_embedding, 20, 0.5, 1.0)
    torch.manual_seed(4)
    content, boxes, mask, meta = get_contrastive_denoising_training_group(*arguments)
    torch.manual_seed(4)
    ours = made(data)
    assert ours[3] == dict(num_denoising_queries=36, num_denoising_groups=6)
    assert meta['dn_num_group'] == 6 and meta['dn_num_split'] == [36, QUERIES]
    torch.testing.assert_close(ours[0], content)
    assert torch.equal(ours[2], mask < 0)
    # transformers sets a negative side to 0, the release makes it positive.
    crossed = boxes <= torch.tensor(1e-5).logit() + 1e-3
    torch.testing.assert_close(ours[1][~crossed], boxes[~crossed], rtol=1e-4, atol=1e-5)
    assert crossed[1].all(), 'an image without objects'
    sides = crossed[0].view(6, 2, 3, 4)[:, :, :2, 2:]
    assert sides.any() and (ours[1][0].view(6, 2, 3, 4)[:, :, :2, 2:][sides].sigmoid() > 1e-4).all()


def test_images_with_fewer_objects_are_filled_with_zeros() -> None:
    made = generator()
    content, boxes, mask, _ = made(samples([1, 3])[0])
    filled = content[0].view(6, 2, 3, DIMS)[:, :, 1:]
    assert content.shape == (2, 36, DIMS) and not filled.any()
    torch.testing.assert_close(boxes[0].view(6, 2, 3, 4)[:, :, 1:].sigmoid(), torch.full((6, 2, 2, 4), 1e-5))
    content.sum().backward()
    gradient = made.label_embedding.weight.grad
    assert not gradient[CLASSES].any() and gradient[:CLASSES].any()
    assert mask.shape == (36 + QUERIES, 36 + QUERIES)


@pytest.mark.parametrize('scale', [0.5, 1.0])
def test_noise_of_positive_and_negative_queries(scale: float) -> None:
    """A corner moves by less than half a side for positive queries, and by half a side to a whole one for negative."""
    made = generator(box_noise_scale=scale)
    boxes = torch.tensor([0.5, 0.5, 0.2, 0.1]).expand(1, 4000, 4)
    negative = (torch.arange(4000) % 2 == 1)[:, None]
    noisy = made.noisy_boxes(boxes, negative)[0]
    # Sides that crossed were turned, so that only boxes that did not cross show the corners.
    moved = (noisy[:, :2] - noisy[:, 2:] / 2 - torch.tensor([0.4, 0.45])).abs() / torch.tensor([0.1, 0.05]) / scale
    assert moved[::2].max() <= 1 + 1e-4 and (noisy[:, 2:] >= 0).all()
    kept = made.noisy_labels(torch.full((1, 20000), 2))
    assert abs((kept != 2).float().mean() - 0.25 * 4 / 5) < 0.02


def test_no_objects_give_no_queries() -> None:
    content, boxes, mask, meta = generator()(samples([0, 0])[0])
    assert content.shape == (2, 0, DIMS) and boxes.shape == (2, 0, 4)
    assert mask.shape == (QUERIES, QUERIES) and not mask.any() and meta['num_denoising_queries'] == 0
