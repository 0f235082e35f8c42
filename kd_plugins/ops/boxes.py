"""Operations on boxes given by their corners ``(x1, y1, x2, y2)``: conversion, IoU, containment."""

from __future__ import annotations

import torch
from torch import Tensor

_PAIRS = 2**18
"""Pairs of a location and a box that :func:`overlap_of_containing_boxes` computes at a time, about 7 MB."""


def expected_distances(logits: Tensor) -> Tensor:
    """Return the mean of each discrete edge distribution, as decoded by GFL (arXiv 2006.04388, section 3, eq. 4).

    Args:
        logits: Shape (..., 4, bins); bin ``i`` stands for a distance of ``i`` strides.

    Returns:
        Distances in strides, shape (..., 4).

    >>> expected_distances(torch.zeros(1, 4, 3))
    tensor([[1., 1., 1., 1.]])
    """
    bins = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    return (logits.softmax(dim=-1) * bins).sum(dim=-1)


def distances_to_boxes(centers: Tensor, distances: Tensor) -> Tensor:
    """Return the boxes whose edges lie at ``distances`` from ``centers``.

    Args:
        centers: Locations (x, y), shape (..., 2).
        distances: To the left, top, right and bottom edge, shape (..., 4), in the unit of ``centers``.

    Returns:
        Corners, shape (..., 4).

    >>> distances_to_boxes(torch.tensor([[8.0, 8.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[ 7.,  6., 11., 12.]])
    """
    return torch.cat([centers - distances[..., :2], centers + distances[..., 2:]], dim=-1)


def to_corners(boxes: Tensor) -> Tensor:
    """Return (x1, y1, x2, y2) of (cx, cy, w, h), shape (..., 4), in any unit; a negative side counts as 0.

    FDR can predict edges that cross. The product of two negative sides would be an area, in GIoU as well as in IoU.

    >>> to_corners(torch.tensor([[2.0, 2.0, 2.0, 4.0], [2.0, 2.0, -2.0, 4.0]]))
    tensor([[1., 0., 3., 4.],
            [2., 0., 2., 4.]])
    """
    center, half = boxes[..., :2], boxes[..., 2:].clamp(min=0) / 2
    return torch.cat([center - half, center + half], dim=-1)


def to_centers(corners: Tensor) -> Tensor:
    """Return (cx, cy, w, h) of (x1, y1, x2, y2), shape (..., 4), in any unit.

    >>> to_centers(torch.tensor([1.0, 0.0, 3.0, 4.0]))
    tensor([2., 2., 2., 4.])
    """
    low, high = corners[..., :2], corners[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def area(boxes: Tensor) -> Tensor:
    """Return the area of boxes (..., 4), 0 where the edges cross."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Return the area that boxes (..., 4) share in pairs; shapes broadcast."""
    corner = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    return corner.clamp(min=0).prod(dim=-1)


def aligned_iou(first: Tensor, second: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the IoU of boxes in pairs; shapes broadcast.

    Args:
        first: Corners, shape (..., 4).
        second: Corners, shape (..., 4).
        eps: Lower bound of the union, so that two boxes without area give 0.

    Returns:
        Shape (...), in [0, 1].

    >>> aligned_iou(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 3.0, 2.0]))
    tensor(0.3333)
    """
    overlap = intersection(first, second)
    union = area(first) + area(second) - overlap
    return overlap / union.clamp(min=eps)


def pairwise_iou(first: Tensor, second: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the IoU of every box of ``first`` with every box of ``second``.

    Args:
        first: Corners, shape (..., K, 4).
        second: Corners, shape (..., G, 4).
        eps: Lower bound of the union.

    Returns:
        Shape (..., K, G).

    >>> box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    >>> pairwise_iou(box, torch.cat([box, box + 1]))
    tensor([[1.0000, 0.1429]])
    """
    return aligned_iou(first[..., :, None, :], second[..., None, :, :], eps)


def centers_inside(centers: Tensor, boxes: Tensor) -> Tensor:
    """Return which locations lie strictly inside which boxes; a box without area contains no location.

    Args:
        centers: Locations (x, y), shape (..., K, 2).
        boxes: Corners, shape (..., G, 4).

    Returns:
        Booleans, shape (..., K, G).

    >>> centers_inside(torch.tensor([[1.0, 1.0], [5.0, 1.0]]), torch.tensor([[0.0, 0.0, 2.0, 2.0]]))
    tensor([[ True],
            [False]])
    """
    points = centers[..., :, None, :]
    corners = boxes[..., None, :, :]
    return ((points > corners[..., :2]) & (points < corners[..., 2:])).all(dim=-1)


def overlap_of_containing_boxes(
    centers: Tensor, predicted: Tensor, boxes: Tensor, pairs: int = _PAIRS
) -> tuple[Tensor, Tensor]:
    """Return the highest IoU of each location's predicted box with the boxes that contain the location.

    A matrix of all locations and boxes would take hundreds of megabytes in a crowded image, so it is computed for some
    locations at a time. The values do not depend on how many.

    Args:
        centers: Locations (x, y), shape (L, 2).
        predicted: Corners of the box that each location predicts, shape (N, L, 4).
        boxes: Corners, shape (N, G, 4), G >= 1.
        pairs: Pairs of a location and a box to compute at a time.

    Returns:
        IoUs, 0 for a location that no box contains, and booleans: whether a box contains the location; both of shape
        (N, L).

    >>> boxes = torch.tensor([[[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 4.0]]])
    >>> overlap_of_containing_boxes(torch.tensor([[1.0, 1.0], [3.0, 3.0]]), boxes, boxes)
    (tensor([[1., 1.]]), tensor([[True, True]]))
    """
    rows = max(1, pairs // max(boxes.shape[0] * boxes.shape[1], 1))
    overlaps, contained = [], []
    for some_centers, some_predicted in zip(centers.split(rows), predicted.split(rows, dim=1)):
        inside = centers_inside(some_centers, boxes)
        overlaps.append((pairwise_iou(some_predicted, boxes) * inside).amax(dim=-1))
        contained.append(inside.any(dim=-1))
    return torch.cat(overlaps, dim=1), torch.cat(contained, dim=1)


def highest_overlap(boxes: Tensor, images: Tensor, truths: Tensor, pairs: int = _PAIRS) -> tuple[Tensor, Tensor]:
    """Return the highest IoU of each box with the boxes of its image, and which of them has it.

    Args:
        boxes: Corners, shape (R, 4).
        images: Index of the image of each box, shape (R,).
        truths: Corners, shape (N, G, 4), G >= 1; boxes without area overlap nothing.
        pairs: Pairs of two boxes to compute at a time; the values do not depend on it.

    Returns:
        IoUs and indices in [0, G), both of shape (R,).

    >>> truths = torch.tensor([[[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 4.0]]])
    >>> highest_overlap(torch.tensor([[0.0, 0.0, 3.0, 4.0]]), torch.tensor([0]), truths)
    (tensor([0.7500]), tensor([1]))
    """
    rows = max(1, pairs // truths.shape[1])
    overlaps, indices = [], []
    for some, image in zip(boxes.split(rows), images.split(rows)):
        overlap, index = aligned_iou(some[:, None], truths[image]).max(dim=-1)
        overlaps.append(overlap)
        indices.append(index)
    return torch.cat(overlaps), torch.cat(indices)
