"""Hungarian matching of many prediction sets with one transfer to the host.

MMDetection matches each decoder layer and each image separately, and waits for the device every time. Here the costs of
all layers and images are computed first and copied to the host together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import Tensor

from ....errors import MissingDependencyError, NonFiniteLossError, import_fault
from ....ops.boxes import to_corners
from .costs import Comparison, batched_costs, is_batched


class Pairs(NamedTuple):
    """Matched pairs of a batch, as int64 arrays of equal length on the host.

    :func:`assign` sorts them by (set, image, object).

    Args:
        sets: Index of the prediction set: a decoder layer, the initial boxes or the proposals of the encoder.
        images: Index of the image in the batch.
        queries: Index of the query in its set.
        objects: Index of the ground-truth object in its image.
    """

    sets: NDArray[np.int64]
    images: NDArray[np.int64]
    queries: NDArray[np.int64]
    objects: NDArray[np.int64]


def _pixel_corners(boxes: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Return (x1, y1, x2, y2) in pixels of normalised (cx, cy, w, h), without copying a size tensor to the device."""
    height, width = img_shape
    x1, y1, x2, y2 = to_corners(boxes).unbind(dim=-1)
    return torch.stack([x1 * width, y1 * height, x2 * width, y2 * height], dim=-1)


@torch.no_grad()
def matching_costs(
    scores: Tensor,
    boxes: Tensor,
    truths: Sequence[InstanceData],
    img_shapes: Sequence[tuple[int, int]],
    match_costs: Sequence[Callable[..., Tensor]],
    labels: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    r"""Return the cost of every query of every prediction set for every object, one tensor per image.

    .. math:: C_{s,q,g} = \sum_k C^{(k)}(\text{prediction}_{s,q}, \text{object}_g)

    over the cost functions :math:`C^{(k)}` of the assigner (MMDetection, ``HungarianAssigner.match_costs``).
    ``FocalLossCost``, ``BBoxL1Cost`` and ``IoUCost`` are computed for all images together and without waiting for the
    device. Other costs are called once per image with the predictions of all sets, with the same arguments as in
    ``DETRHead``: logits, boxes in pixels and the shape of the image.

    Args:
        scores: Class logits, shape (S, B, Q, C).
        boxes: Normalised (cx, cy, w, h), shape (S, B, Q, 4).
        truths: Objects of each of the B images: ``bboxes`` as (x1, y1, x2, y2) in pixels, shape (G_i, 4), ``labels`` of
            shape (G_i,), and any other field that the cost functions read.
        img_shapes: (height, width) in pixels of each image.
        match_costs: Cost functions called with ``pred_instances``, ``gt_instances`` and ``img_meta``, which return
            shape (predictions, objects).
        labels: Labels that replace those in ``truths``, for instance zeros for class-agnostic proposals.

    Returns:
        B tensors of shape (S, Q, G_i) on the device, float32, without gradient.
    """
    scores, boxes = scores.detach().float(), boxes.detach().float()
    batched = [cost for cost in match_costs if is_batched(cost)]
    others = [cost for cost in match_costs if not is_batched(cost)]
    if batched and len(truths):
        costs = _costs_of_batch(scores, boxes, truths, img_shapes, batched, labels)
    else:
        sets, _, queries, _ = boxes.shape
        costs = [boxes.new_zeros(sets, queries, len(truth)) for truth in truths]
    for image, (truth, img_shape) in enumerate(zip(truths, img_shapes)):
        if len(truth) and others:
            objects = InstanceData(**dict(truth.items()))
            objects.bboxes = truth.bboxes.float()
            if labels is not None:
                objects.labels = labels[image]
            predictions = InstanceData(
                scores=scores[:, image].flatten(0, 1), bboxes=_pixel_corners(boxes[:, image], img_shape).flatten(0, 1)
            )
            meta = dict(img_shape=tuple(img_shape[:2]))
            terms = [cost(pred_instances=predictions, gt_instances=objects, img_meta=meta) for cost in others]
            costs[image] = costs[image] + torch.stack(terms).sum(dim=0).float().view_as(costs[image])
    return costs


def _costs_of_batch(
    scores: Tensor,
    boxes: Tensor,
    truths: Sequence[InstanceData],
    img_shapes: Sequence[tuple[int, int]],
    match_costs: Sequence[Callable[..., Tensor]],
    labels: Sequence[Tensor] | None,
) -> list[Tensor]:
    """Return the sum of the costs that are computed for all images together; arguments as in :func:`matching_costs`."""
    numbers = [len(truth) for truth in truths]
    # For each object the index, width and height of its image, in one transfer.
    sizes = [(image, *shape[1::-1]) for image, (_, shape) in enumerate(zip(truths, img_shapes))]
    table = np.array(sizes, np.float32).reshape(-1, 3)
    rows = torch.from_numpy(table.repeat(numbers, axis=0)).to(boxes.device, non_blocking=True)
    corners = torch.cat([getattr(truth.bboxes, 'tensor', truth.bboxes).reshape(-1, 4) for truth in truths])
    comparison = Comparison(
        scores,
        boxes,
        labels=torch.cat([truth.labels for truth in truths] if labels is None else list(labels)).long(),
        corners=corners.float() / rows[:, 1:].repeat(1, 2),
        images=rows[:, 0].long(),
        areas=rows[:, 1] * rows[:, 2],
    )
    return [cost.permute(1, 2, 0) for cost in batched_costs(comparison, match_costs).split(numbers)]


def assign(*groups: Sequence[Tensor]) -> Pairs:
    """Solve the assignment problem of every prediction set and image, after one transfer of all costs to the host.

    Args:
        groups: Results of :func:`matching_costs`, each with one tensor (S, Q, G_i) per image. S and Q may differ
            between groups; the numbering of sets continues from group to group.

    Returns:
        min(Q, G_i) pairs for each set and image, sorted by (set, image, object).

    Raises:
        NonFiniteLossError: If a cost is NaN or infinite.
        MissingDependencyError: If SciPy is not installed.

    >>> import torch
    >>> assign([torch.tensor([[[3.0, 1.0], [2.0, 9.0], [0.0, 5.0]]])]).queries
    array([2, 0])
    """
    costs = [cost.detach() for group in groups for cost in group]
    if not costs:
        return _pairs([])
    # With `copy`, this is one operation on every device, which a test counts.
    # Objects come first because :func:`matching_costs` stores them in this order.
    host = torch.cat([cost.permute(2, 0, 1).flatten() for cost in costs]).to('cpu', copy=True).numpy()
    parts = iter(np.split(host, np.cumsum([cost.numel() for cost in costs])[:-1]))
    solved, first = [], 0
    for group in groups:
        for image, cost in enumerate(group):
            sets, queries, objects = cost.shape
            matrices = next(parts).reshape(objects, sets, queries).transpose(1, 0, 2)
            for number, matrix in enumerate(matrices, start=first):
                solved.append(_solve(matrix, number, image))
        first += len(group[0]) if group else 0
    return _pairs(solved)


def _solve(matrix: NDArray[np.floating], number: int, image: int) -> NDArray[np.int64]:
    """Return the pairs of one prediction set and image as columns (set, image, query, object), shape (pairs, 4).

    Args:
        matrix: Costs, (objects, queries). The solver would transpose a matrix with more rows than columns, so this
            orientation is faster; the pairs are the same.
        number: Index of the prediction set.
        image: Index of the image.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        fault = import_fault(error, 'SciPy')
        raise MissingDependencyError(f'matching needs SciPy, and {fault}; `pip install scipy`') from error
    if not np.isfinite(matrix).all():
        raise NonFiniteLossError(
            f'the matching cost of image {image} in prediction set {number} is not finite: its scores, its boxes or '
            'the boxes of its objects hold NaN or infinite values'
        )
    objects, queries = linear_sum_assignment(matrix)
    return np.stack([np.full_like(queries, number), np.full_like(queries, image), queries, objects], axis=-1)


def _pairs(solved: Sequence[NDArray[np.int64]]) -> Pairs:
    """Join the rows of :func:`_solve`, sorted as :class:`Pairs` describes."""
    rows = np.concatenate([np.empty((0, 4), np.int64), *solved]).astype(np.int64, copy=False)
    sets, images, queries, objects = rows[np.lexsort((rows[:, 3], rows[:, 1], rows[:, 0]))].T.copy()
    return Pairs(sets, images, queries, objects)
