"""The costs of all images at once against MMDetection's own, image by image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kd_plugins.models.dfine.matching import costs
from kd_plugins.models.dfine.matching.hungarian import matching_costs

pytest.importorskip('mmdet')

from mmdet.models.task_modules.assigners.match_cost import (
    BBoxL1Cost,
    ClassificationCost,
    FocalLossCost,
    IoUCost,
)

SHAPES = [(480, 640), (37, 500), (64, 97)]
KINDS = [
    FocalLossCost(weight=2.0),
    FocalLossCost(alpha=0.4, gamma=1.5, eps=1e-6),
    BBoxL1Cost(weight=5.0),
    BBoxL1Cost(box_format='xywh', weight=0.5),
    IoUCost(weight=2.0),
    IoUCost(iou_mode='iou'),
]


class ReversedCost(IoUCost):
    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return -super().__call__(*args, **kwargs)


def batch(counts: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor, list[InstanceData]]:
    """Logits, boxes (some without extent, some of negative size, some outside) and objects (some without extent)."""
    torch.manual_seed(0)
    boxes = torch.rand(4, len(counts), 11, 4) * torch.tensor([1.2, 1.2, 0.6, 0.6]) - 0.1
    boxes[:, :, 0, 2:] = 0
    boxes[:, :, 1, 2] = -0.05
    boxes[:, :, 2, 2:] = 1e-4
    truths = []
    for count, (height, width) in zip(counts, SHAPES):
        corners = (torch.rand(count, 2, 2).sort(dim=1).values * 1.2 - 0.1) * torch.tensor([width, height])
        corners[3:4, 1] = corners[3:4, 0]
        truths.append(InstanceData(bboxes=corners.flatten(1), labels=torch.randint(classes, (count,))))
    return torch.randn(4, len(counts), 11, classes) * 4, boxes, truths


def image_by_image(cost: Any, scores: Tensor, boxes: Tensor, truths: list[InstanceData]) -> list[Tensor]:
    """MMDetection's costs; a negative size counts as 0 wherever corners are compared, as in the authors' D-FINE."""
    actual = []
    if getattr(cost, 'box_format', '') != 'xywh':
        boxes = torch.cat([boxes[..., :2], boxes[..., 2:].clamp(min=0)], dim=-1)
    for image, (truth, (height, width)) in enumerate(zip(truths, SHAPES)):
        low, high = (boxes[:, image, :, :2] + sign * boxes[:, image, :, 2:] / 2 for sign in (-1, 1))
        pixels = torch.cat([low, high], dim=-1) * torch.tensor([width, height, width, height])
        predictions = [InstanceData(scores=score, bboxes=box) for score, box in zip(scores[:, image], pixels)]
        meta = dict(img_shape=(height, width))
        actual.append(torch.stack([cost(pred_instances=p, gt_instances=truth, img_meta=meta) for p in predictions]))
    return actual


@pytest.mark.parametrize('cost', KINDS, ids=lambda cost: type(cost).__name__)
@pytest.mark.parametrize('counts', [(5, 1, 0), (0, 0, 2), (40, 7, 9)])
@pytest.mark.parametrize('classes', [3, 60])
@pytest.mark.parametrize('chunk', [1, 200, 2**18])
def test_costs_are_those_of_mmdet(
    cost: Any, counts: tuple[int, ...], classes: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, 'CHUNK', chunk)
    assert costs.is_batched(cost)
    inputs = batch(counts, classes)
    actual = matching_costs(*inputs, SHAPES, [cost])
    for one, other in zip(actual, image_by_image(cost, *inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    'cost', [ReversedCost(), ClassificationCost(), IoUCost(iou_mode='iof'), FocalLossCost(binary_input=True)]
)
def test_other_costs_are_called_themselves(cost: Any) -> None:
    assert not costs.is_batched(cost)


def test_both_kinds_add_up() -> None:
    inputs = batch((5, 0, 2), 3)
    actual = matching_costs(*inputs, SHAPES, [ReversedCost(weight=3.0), BBoxL1Cost(), ClassificationCost()])
    parts = [image_by_image(cost, *inputs) for cost in (ReversedCost(weight=3.0), BBoxL1Cost(), ClassificationCost())]
    for one, terms in zip(actual, zip(*parts), strict=True):
        torch.testing.assert_close(one, sum(terms), rtol=2e-5, atol=2e-5)


def test_no_images() -> None:
    assert matching_costs(torch.zeros(2, 0, 5, 3), torch.zeros(2, 0, 5, 4), [], [], KINDS) == []


class Calls(TorchDispatchMode):
    """Counts the operations that compute something."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def test_the_number_of_operations_does_not_grow_with_the_images() -> None:
    objects = InstanceData(bboxes=torch.tensor([[1.0, 1.0, 9.0, 9.0]]), labels=torch.tensor([0]))

    def operations(number: int) -> int:
        scores, boxes = torch.zeros(3, number, 5, 2), torch.zeros(3, number, 5, 4)
        with Calls() as calls:
            matching_costs(scores, boxes, [objects] * number, [(9, 9)] * number, KINDS)
        return calls.count

    assert operations(1) == operations(2) == operations(40)
