"""Other orders of a batch: no sample keeps its place, and everything of a sample moves with it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch

from kd_plugins.ops.batch_order import cyclic_order, reordered


@pytest.mark.parametrize('count', [2, 3, 8])
def test_no_element_keeps_its_place(count: int) -> None:
    random.seed(0)
    before = random.getstate()
    orders = [cyclic_order(count, seed) for seed in range(200)]
    assert random.getstate() == before, 'the generator of the run draws nothing'
    for order in orders:
        assert sorted(order) == list(range(count)) and all(place != old for place, old in enumerate(order))
    assert orders == [cyclic_order(count, seed) for seed in range(200)]


def test_every_cycle_is_as_likely() -> None:
    counts = Counter(tuple(cyclic_order(4, seed)) for seed in range(6000))
    assert len(counts) == 6, '(4 - 1)! cycles'
    assert all(850 < number < 1150 for number in counts.values())


@pytest.mark.parametrize('count', [0, 1])
def test_one_element_has_no_other_place(count: int) -> None:
    with pytest.raises(ValueError, match=f'{count} elements have no order'):
        cyclic_order(count, 0)


def test_voxels_move_with_their_cloud() -> None:
    coors = torch.tensor([[0, 1, 1, 1], [0, 2, 2, 2], [1, 3, 3, 3], [2, 4, 4, 4]])
    inputs = {
        'points': ['a', 'b', 'c'],
        'voxels': {'coors': coors, 'voxels': torch.arange(4.0)[:, None], 'empty': None},
    }
    moved = reordered(inputs, [1, 2, 0])
    assert moved['points'] == ['b', 'c', 'a']
    assert moved['voxels']['coors'].tolist() == [[0, 3, 3, 3], [1, 4, 4, 4], [2, 1, 1, 1], [2, 2, 2, 2]]
    assert moved['voxels']['voxels'].flatten().tolist() == [2.0, 3.0, 0.0, 1.0] and moved['voxels']['empty'] is None
    assert coors[2, 0] == 1, 'the batch of the student stays'


def test_what_has_no_row_for_each_sample_stays() -> None:
    assert reordered(None, [1, 0]) is None
    assert reordered(['a', 'b', 'c'], [1, 0]) == ['a', 'b', 'c']
    scalar = torch.tensor(3.0)
    assert reordered(scalar, [1, 0]) is scalar
