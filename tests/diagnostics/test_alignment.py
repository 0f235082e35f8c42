"""Gradients of terms compared with that of the task: values by hand, modules, sums over batches."""

import math

import pytest
import torch
from torch import nn

from kd_plugins.diagnostics.alignment import Alignment, alignments, conflict, total


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(2, 1, bias=False))
        self.head = nn.Linear(1, 1, bias=False)
        self.spare = nn.Linear(1, 1)


def test_sizes_and_cosines_by_hand() -> None:
    net = Net()
    a, b = net.stem[0].weight, net.head.weight
    task = 3 * a[0, 0] + 4 * a[0, 1] + b.sum()
    terms = {'with': 2 * task, 'against': -0.5 * task, 'across': 4 * a[0, 0] - 3 * a[0, 1], 'none': torch.ones(())}
    by_term = alignments(task, terms, list(net.named_parameters()), depth=1)
    assert all(list(rows) == ['stem', 'head', 'spare'] for rows in by_term.values())
    for term, size, cosine in (('with', 2.0, 1.0), ('against', 0.5, -1.0), ('across', 1.0, 0.0)):
        stem = by_term[term]['stem']
        assert stem.size == pytest.approx(size) and stem.cosine == pytest.approx(cosine, abs=1e-6)
    assert by_term['across']['head'].size == 0 and math.isnan(by_term['across']['head'].cosine)
    assert math.isnan(by_term['with']['spare'].size)
    assert total(by_term['none'].values()) == Alignment(task=pytest.approx(26.0))
    assert total(by_term['across'].values()).cosine == pytest.approx(0.0, abs=1e-6)
    assert total(by_term['with'].values()).term == pytest.approx(4 * 26)
    assert list(alignments(task, terms, list(net.named_parameters()), depth=2)['with']) == ['stem.0', 'head', 'spare']


def test_a_conflict_is_large_and_points_elsewhere() -> None:
    rows = {'small': Alignment(100.0, 1.0, -9.0), 'along': Alignment(1.0, 50.0, 7.0), 'dead': Alignment(0.0, 9.0, 0.0)}
    assert conflict(rows) is None
    assert conflict({**rows, 'a': Alignment(1.0, 4.0, 0.2), 'b': Alignment(1.0, 9.0, -1.0)}) == 'b'


def test_batches_add_up_to_one() -> None:
    """Squares and products are summed, so a batch with large gradients has more weight."""
    first, second = Alignment(4.0, 1.0, 2.0), Alignment(1.0, 4.0, -2.0)
    assert total([first, second]) == Alignment(5.0, 5.0, 0.0)
    assert first == Alignment(4.0, 1.0, 2.0)
