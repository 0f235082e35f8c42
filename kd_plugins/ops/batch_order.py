"""Batches of an OpenMMLab model in another order of their samples."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def cyclic_order(count: int, seed: int) -> list[int]:
    """Return a random permutation that is one cycle, so that no element keeps its place (Sattolo's algorithm).

    Every cycle is equally likely. The generator is its own: no random number of the run is drawn.

    Args:
        count: Number of elements, at least 2.
        seed: Seed of the generator.

    Returns:
        For each place the old place of the element that comes there.

    Raises:
        ValueError: If there are less than two elements.

    >>> order = cyclic_order(5, seed=3)
    >>> sorted(order), any(place == old for place, old in enumerate(order))
    ([0, 1, 2, 3, 4], False)
    """
    if count < 2:
        raise ValueError(f'{count} elements have no order in which none keeps its place')
    generator, order = random.Random(seed), list(range(count))
    for last in range(count - 1, 0, -1):
        other = generator.randrange(last)
        order[last], order[other] = order[other], order[last]
    return order


def reordered(value: Any, order: Sequence[int]) -> Any:
    """Return inputs or data samples of a batch in another order.

    Tensors with one row for each sample, lists of one entry for each sample and dicts of both are reordered, and so are
    the voxels of MMDetection3D, whose rows name their sample in column 0 of ``coors``. Everything else stays.

    Args:
        value: The inputs or the data samples.
        order: For each place the old place of the sample that comes there, B numbers.

    >>> reordered({'points': ['a', 'b', 'c'], 'images': torch.tensor([[1], [2], [3]])}, [2, 0, 1])
    {'points': ['c', 'a', 'b'], 'images': tensor([[3],
            [1],
            [2]])}
    """
    if isinstance(value, Mapping):
        if 'coors' in value:
            return reordered_voxels(value, order)
        return {key: reordered(entry, order) for key, entry in value.items()}
    if isinstance(value, Tensor) and value.ndim and len(value) == len(order):
        return value[torch.as_tensor(order, device=value.device)]
    if isinstance(value, (list, tuple)) and len(value) == len(order):
        return [value[place] for place in order]
    return value


def reordered_voxels(voxels: Mapping[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """Return the voxels of a batch of point clouds in another order of the clouds.

    Args:
        voxels: ``coors`` of shape (V, 4), whose column 0 is the place of the cloud in the batch, and further tensors
            with V rows, as MMDetection3D's preprocessor makes them.
        order: For each place the old place of the cloud that comes there.

    >>> voxels = {'coors': torch.tensor([[0, 7], [1, 8], [1, 9]]), 'num_points': torch.tensor([1, 2, 3])}
    >>> moved = reordered_voxels(voxels, [1, 0])
    >>> moved['coors'].tolist(), moved['num_points'].tolist()
    ([[0, 8], [0, 9], [1, 7]], [2, 3, 1])
    """
    coors = voxels['coors']
    places = coors.new_empty(len(order))
    places[torch.as_tensor(order, device=coors.device)] = torch.arange(len(order), device=coors.device).to(coors.dtype)
    moved = places[coors[:, 0].long()]
    rows = moved.argsort(stable=True)
    new = {
        key: entry[rows] if isinstance(entry, Tensor) and entry.ndim and len(entry) == len(coors) else entry
        for key, entry in voxels.items()
    }
    new['coors'] = torch.cat([moved[rows, None], coors[rows, 1:]], dim=1)
    return new


__all__ = ['cyclic_order', 'reordered', 'reordered_voxels']
