from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kd_plugins.errors import NonFiniteLossError
from kd_plugins.models.dfine.matching.hungarian import Pairs, assign, matching_costs

SHAPES = [(480, 640), (333, 500), (64, 97)]
CLASSES = 5
# MMDetection's DINO and Deformable DETR.
ASSIGNER = dict(
    match_costs=[
        dict(type='FocalLossCost', weight=2.0),
        dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
        dict(type='IoUCost', iou_mode='giou', weight=2.0),
    ]
)


def hungarian(**config: Any) -> Any:
    pytest.importorskip('mmdet')
    from mmdet.models.task_modules.assigners import HungarianAssigner

    costs = [dict(cost, type=f'mmdet.{cost["type"]}') for cost in (config or ASSIGNER)['match_costs']]
    return HungarianAssigner(costs)


def truth(count: int, shape: tuple[int, int], duplicates: bool = False) -> InstanceData:
    """Objects of an image, some of them partly or wholly outside of it."""
    height, width = shape
    corners = torch.rand(count, 2, 2).sort(dim=1).values * 1.6 - 0.3
    boxes = (corners * torch.tensor([width, height])).flatten(1)
    labels = torch.randint(CLASSES, (count,))
    if duplicates:
        boxes, labels = boxes[torch.arange(count) // 2], labels[torch.arange(count) // 2]
    return InstanceData(bboxes=boxes, labels=labels)


def predictions(sets: int, images: int, queries: int) -> tuple[Tensor, Tensor]:
    """Logits and boxes; as in D-FINE a few boxes leave the image or have no size."""
    boxes = torch.rand(sets, images, queries, 4) * torch.tensor([1.2, 1.2, 0.6, 0.6]) - 0.1
    boxes[..., 2:].clamp_(min=0)
    return torch.randn(sets, images, queries, CLASSES) * 3, boxes


def mmdet_pairs(assigner: Any, scores: Tensor, boxes: Tensor, truths: list[InstanceData]) -> list[tuple[int, ...]]:
    """What MMDetection's `DETRHead` does for each layer and image."""
    from mmdet.structures.bbox import bbox_cxcywh_to_xyxy

    actual = []
    for number in range(len(scores)):
        for image, objects in enumerate(truths):
            height, width = SHAPES[image]
            pixels = bbox_cxcywh_to_xyxy(boxes[number, image]) * torch.tensor([[width, height, width, height]])
            result = assigner.assign(
                InstanceData(scores=scores[number, image], bboxes=pixels),
                objects,
                img_meta=dict(img_shape=(height, width)),
            )
            actual += [(number, image, q, int(o) - 1) for q, o in enumerate(result.gt_inds) if o > 0]
    return sorted(actual, key=lambda row: (row[0], row[1], row[3]))


def rows(pairs: Pairs) -> list[tuple[int, ...]]:
    return list(zip(*(array.tolist() for array in pairs)))


@pytest.mark.parametrize('queries', [1, 7, 30])
@pytest.mark.parametrize('counts', [(3, 0, 1), (0, 0, 0), (12, 5, 9), (1, 1, 1)])
@pytest.mark.parametrize('seed', range(3))
def test_pairs_are_those_of_mmdet(counts: tuple[int, ...], queries: int, seed: int) -> None:
    torch.manual_seed(seed)
    assigner = hungarian()
    scores, boxes = predictions(4, len(counts), queries)
    truths = [truth(count, shape) for count, shape in zip(counts, SHAPES)]
    pairs = assign(matching_costs(scores, boxes, truths, SHAPES, assigner.match_costs))
    assert rows(pairs) == mmdet_pairs(assigner, scores, boxes, truths)
    assert len(pairs.sets) == 4 * sum(min(queries, count) for count in counts)
    assert all(array.dtype == np.int64 for array in pairs)


@pytest.mark.parametrize('queries', [4, 30])
@pytest.mark.parametrize('seed', range(5))
def test_duplicates_of_an_object(queries: int, seed: int) -> None:
    torch.manual_seed(seed)
    assigner = hungarian()
    scores, boxes = predictions(3, 3, queries)
    truths = [truth(count, shape, duplicates=True) for count, shape in zip((6, 4, 2), SHAPES)]
    pairs = assign(matching_costs(scores, boxes, truths, SHAPES, assigner.match_costs))

    def merged(actual: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        # Objects 2k and 2k + 1 are the same, and either may have either query.
        return sorted((number, image, query, obj // 2) for number, image, query, obj in actual)

    assert merged(rows(pairs)) == merged(mmdet_pairs(assigner, scores, boxes, truths))
    slots = [(number, image, query) for number, image, query, _ in rows(pairs)]
    owners = [(number, image, obj) for number, image, _, obj in rows(pairs)]
    assert len(set(slots)) == len(slots) == len(set(owners))


@pytest.mark.parametrize(
    'costs',
    [
        [dict(type='ClassificationCost', weight=1.0), dict(type='BBoxL1Cost', weight=5.0)],
        [dict(type='IoUCost', iou_mode='iou', weight=1.0)],
    ],
)
def test_the_users_own_costs_are_used(costs: list[dict[str, Any]]) -> None:
    torch.manual_seed(0)
    assigner = hungarian(match_costs=costs)
    scores, boxes = predictions(2, 2, 20)
    # Boxes that all overlap, since an IoU of zero is a tie.
    boxes = boxes * 0.2 + 0.4
    truths = [
        InstanceData(
            bboxes=(torch.tensor([0.2, 0.2, 0.8, 0.8]) + torch.rand(4, 4) * 0.2) * torch.tensor([w, h, w, h]),
            labels=torch.randint(CLASSES, (4,)),
        )
        for h, w in SHAPES[:2]
    ]
    pairs = assign(matching_costs(scores, boxes, truths, SHAPES, assigner.match_costs))
    assert rows(pairs) == mmdet_pairs(assigner, scores, boxes, truths)


def test_labels_override_those_of_the_truth() -> None:
    torch.manual_seed(0)
    assigner = hungarian()
    scores, boxes = predictions(1, 2, 10)
    truths = [truth(3, shape) for shape in SHAPES[:2]]
    before = [objects.labels.clone() for objects in truths]
    zeros = [torch.zeros_like(labels) for labels in before]
    # A class-agnostic head has one class: no label of the truth but zero would be in range.
    actual = matching_costs(scores[..., :1], boxes, truths, SHAPES, assigner.match_costs, labels=zeros)
    agnostic = [InstanceData(bboxes=objects.bboxes, labels=labels) for objects, labels in zip(truths, zeros)]
    assert rows(assign(actual)) == mmdet_pairs(assigner, scores[..., :1], boxes, agnostic)
    assert all((objects.labels == labels).all() for objects, labels in zip(truths, before))


def label_cost(pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict[str, Any]) -> Tensor:
    return -pred_instances.scores[:, gt_instances.labels]


def distance_cost(pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict[str, Any]) -> Tensor:
    return (pred_instances.bboxes[:, None] - gt_instances.bboxes[None]).abs().sum(-1)


def test_predictions_reach_the_costs_in_pixels_and_their_sum_comes_back() -> None:
    scores = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]])
    boxes = torch.tensor([0.5, 0.5, 0.2, 0.4]).repeat(2, 1, 2, 1)
    boxes[1, 0, 1] = torch.tensor([0.25, 0.5, 0.5, 1.0])
    objects = InstanceData(bboxes=torch.tensor([[80.0, 15.0, 120.0, 35.0]]), labels=torch.tensor([1]))
    (cost,) = matching_costs(scores, boxes, [objects], [(50, 200)], [label_cost, distance_cost])
    # The last prediction is (0, 0, 100, 50), the others are the object.
    expected = torch.tensor([[[-2.0], [-4.0]], [[-6.0], [-8.0 + 80.0 + 15.0 + 20.0 + 15.0]]])
    torch.testing.assert_close(cost, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_costs_are_float32_and_have_no_gradient(dtype: torch.dtype) -> None:
    scores, boxes = (tensor.to(dtype).requires_grad_() for tensor in predictions(2, 3, 4))
    truths = [truth(count, shape) for count, shape in zip((2, 0, 1), SHAPES)]
    for objects in truths:
        objects.bboxes = objects.bboxes.to(dtype)
    costs = matching_costs(scores, boxes, truths, SHAPES, [label_cost, distance_cost])
    assert [tuple(cost.shape) for cost in costs] == [(2, 4, 2), (2, 4, 0), (2, 4, 1)]
    assert all(cost.dtype == torch.float32 and not cost.requires_grad for cost in costs)


def test_costs_read_nothing_back_from_the_device() -> None:
    # Tensors on `meta` have no values: any look at one raises.
    costs = hungarian().match_costs
    scores, boxes = (tensor.to('meta') for tensor in predictions(3, 3, 6))
    truths = [truth(count, shape).to('meta') for count, shape in zip((2, 0, 1), SHAPES)]
    shapes = [tuple(cost.shape) for cost in matching_costs(scores, boxes, truths, SHAPES, costs)]
    assert shapes == [(3, 6, 2), (3, 6, 0), (3, 6, 1)]


class HostTransfers(TorchDispatchMode):
    """Counts the operations that would read from a device, and can be counted without one."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        copied = func is torch.ops.aten._to_copy.default and torch.device(kwargs.get('device') or 'meta').type == 'cpu'
        reads = ('_local_scalar_dense', 'nonzero', 'masked_select', 'equal', 'is_nonzero')
        self.count += copied or func.overloadpacket.__name__ in reads
        return func(*args, **kwargs)


@pytest.mark.parametrize('sets', [1, 7])
@pytest.mark.parametrize('counts', [(0,), (3,), (4, 0, 9), (0, 0, 0)])
@pytest.mark.parametrize('groups', [1, 3])
def test_one_transfer_whatever_the_size(sets: int, counts: tuple[int, ...], groups: int) -> None:
    costs = hungarian().match_costs
    inputs = [predictions(sets, len(counts), 11) for _ in range(groups)]
    truths = [truth(count, shape) for count, shape in zip(counts, SHAPES)]
    with HostTransfers() as transfers:
        actual = [matching_costs(scores, boxes, truths, SHAPES, costs) for scores, boxes in inputs]
        assert transfers.count == 0
        pairs = assign(*actual)
    assert transfers.count == 1
    assert len(pairs.sets) == groups * sets * sum(counts)


def test_the_counter_counts() -> None:
    with HostTransfers() as transfers:
        torch.ones(1).to('cpu', copy=True)
        torch.ones(1).item()
        torch.ones(1).nonzero()
        bool(torch.ones(1) > 0)
    assert transfers.count == 4


def test_assignment_is_the_cheapest_of_all() -> None:
    torch.manual_seed(0)
    cost = torch.rand(50, 4, 3)
    pairs = assign([cost])
    total = np.bincount(pairs.sets, weights=cost.numpy()[pairs.sets, pairs.queries, pairs.objects])
    best = [min(sum(m[q, g] for g, q in enumerate(order)) for order in permutations(range(4), 3)) for m in cost.numpy()]
    np.testing.assert_allclose(total, best, rtol=1e-6)


def test_sets_are_numbered_on_from_group_to_group() -> None:
    torch.manual_seed(0)
    first, second = [torch.rand(2, 5, 3), torch.rand(2, 5, 1)], [torch.rand(1, 9, 3), torch.rand(1, 9, 1)]
    together = assign(first, second)
    alone = [rows(assign(first)), [(number + 2, *rest) for number, *rest in rows(assign(second))]]
    assert rows(together) == alone[0] + alone[1]
    assert sorted(set(together.sets.tolist())) == [0, 1, 2]
    assert rows(together) == sorted(rows(together), key=lambda row: (row[0], row[1], row[3]))


def test_a_group_without_queries_keeps_its_numbers() -> None:
    pairs = assign([torch.rand(2, 0, 3)], [torch.rand(1, 4, 3)])
    assert pairs.sets.tolist() == [2, 2, 2]


@pytest.mark.parametrize('groups', [[], [[]], [[torch.empty(3, 5, 0)]], [[torch.empty(0, 5, 2)]]])
def test_no_pairs(groups: list[list[Tensor]]) -> None:
    assert [(len(array), array.dtype) for array in assign(*groups)] == [(0, np.dtype(np.int64))] * 4


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_a_cost_that_is_not_finite_is_named(value: float) -> None:
    first, second = [torch.rand(2, 4, 3), torch.rand(2, 4, 2)], [torch.rand(1, 4, 3), torch.rand(1, 4, 2)]
    second[1][0, 3, 1] = value
    message = r'^the matching cost of image 1 in prediction set 2 is not finite: '
    with pytest.raises(NonFiniteLossError, match=message) as error:
        assign(first, second)
    assert '\n' not in str(error.value)


def test_diverged_boxes_are_found() -> None:
    scores, boxes = predictions(2, 2, 4)
    boxes[1, 0, 2, 3] = float('nan')
    truths = [truth(2, shape) for shape in SHAPES[:2]]
    with pytest.raises(NonFiniteLossError, match='image 0 in prediction set 1 '):
        assign(matching_costs(scores, boxes, truths, SHAPES, hungarian().match_costs))
