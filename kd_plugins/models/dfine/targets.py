"""Ground truth and matched pairs as tensors of a whole batch, for the criterion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import Tensor

from .matching.hungarian import Pairs

Indices = NDArray[np.int64]


class GroundTruth(NamedTuple):
    """All objects of a batch, image after image; N images, G objects in total."""

    corners: Tensor
    """Normalised (x1, y1, x2, y2), (G, 4)."""
    labels: Tensor
    """Class of each object, (G,), int64."""
    scales: Tensor
    """Width, height, width, height in pixels of each object's image, (G, 4)."""
    numbers: Indices
    """Number of objects per image, (N,), on the host."""


def ground_truth(truths: Sequence[InstanceData], img_shapes: Sequence[tuple[int, int]], like: Tensor) -> GroundTruth:
    """Collect the objects of a batch.

    Args:
        truths: ``bboxes`` in pixels, (x1, y1, x2, y2), and ``labels`` of every image.
        img_shapes: Height and width of every image.
        like: A tensor on the device of the result.
    """
    boxes = [getattr(truth.bboxes, 'tensor', truth.bboxes) for truth in truths]
    numbers = np.array([len(box) for box in boxes], np.int64)
    sizes = np.array([[width, height, width, height] for height, width in img_shapes], np.float32)
    scales = torch.from_numpy(sizes.repeat(numbers, axis=0)).to(like.device)
    corners = torch.cat([box.reshape(-1, 4) for box in boxes]).to(scales) / scales
    labels = torch.cat([truth.labels for truth in truths]).to(device=like.device, dtype=torch.long)
    return GroundTruth(corners, labels, scales, numbers)


class FlatPairs(NamedTuple):
    """Pairs of S sets with M pairs each, as indices into a whole batch."""

    queries: Tensor
    """``image * Q + query``, (S, M)."""
    objects: Tensor
    """Rows of :class:`GroundTruth`, (S, M)."""


def flatten(pairs: Pairs, num_sets: int, num_queries: int, numbers: Indices) -> Indices:
    """Return :class:`FlatPairs` on the host, as one array of shape (2, num_sets, M).

    Args:
        pairs: Pairs sorted by set; every set has the same number of pairs.
        num_sets: S.
        num_queries: Q, queries of an image in each set.
        numbers: Number of objects per image, (N,).
    """
    starts = np.cumsum(numbers) - numbers
    flat = np.stack([pairs.images * num_queries + pairs.queries, starts[pairs.images] + pairs.objects])
    return flat.reshape(2, num_sets, len(pairs.sets) // num_sets)


def denoising_pairs(numbers: Indices, num_queries: int, num_groups: int) -> Indices:
    """Return the pairs of MMDetection's contrastive denoising queries, in the form of :func:`flatten` for one set.

    Each group holds as many positive queries as the largest number of objects in an image, then as many negative ones.
    An image with fewer objects uses the first of its positive queries.

    Args:
        numbers: Number of objects per image, (N,).
        num_queries: Number of denoising queries of an image, ``2 * groups * max(numbers)``.
        num_groups: Number of groups.

    >>> denoising_pairs(np.array([1, 2]), num_queries=8, num_groups=2)[:, 0]
    array([[ 0,  4,  8,  9, 12, 13],
           [ 0,  0,  1,  2,  1,  2]])
    """
    width = num_queries // num_groups if num_groups else 0
    images, groups, positions = (
        np.arange(size).reshape(shape)
        for size, shape in ((len(numbers), (-1, 1, 1)), (num_groups, (1, -1, 1)), (width // 2, (1, 1, -1)))
    )
    used = np.broadcast_to(positions < numbers[:, None, None], (len(numbers), num_groups, width // 2))
    queries = np.broadcast_to(images * num_queries + groups * width + positions, used.shape)[used]
    objects = np.broadcast_to((np.cumsum(numbers) - numbers)[:, None, None] + positions, used.shape)[used]
    return np.stack([queries, objects])[:, None]


def to_device(arrays: Sequence[Indices], device: torch.device) -> list[FlatPairs]:
    """Move results of :func:`flatten` to the device in one transfer."""
    joined = torch.from_numpy(np.concatenate([array.reshape(-1) for array in arrays])).to(device, non_blocking=True)
    parts = joined.split([array.size for array in arrays])
    return [FlatPairs(*part.view(array.shape).unbind(0)) for part, array in zip(parts, arrays)]
