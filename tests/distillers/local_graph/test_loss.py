from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.distillers.local_graph.graphs import LocalGraph, build_graph
from kd_plugins.distillers.local_graph.loss import edge_spread, local_graph_loss, normalize_edges
from kd_plugins.distillers.local_graph.selection import channel_max, reweighting
from kd_plugins.ops.reduction import to_float
from tests.distillers.local_graph.direct import direct_loss, make_pair, our_loss, terms_of
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks

PAIR = make_pair(4, 4, 3)


def graphs_of(
    teacher: Tensor, counts: Sequence[int], number: int = 6, neighbours: int = 4, temperature: float | None = 1.0
) -> list[LocalGraph]:
    """Return the graph of every sample; ``counts`` says how many rows each has."""
    graphs, first = [], 0
    for rows in teacher.split(list(counts)):
        weigh = partial(reweighting, temperature=temperature)
        graphs.append(build_graph(rows[None], channel_max(rows)[None], number, neighbours, weigh, first))
        first += len(rows)
    return graphs


def draw(count: int, channels: int, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestLocalGraph(LossTester):
    """With one edge function for both, so that equal features have equal edges."""

    shape = (2, 9, 4)

    def problem(self, student: Tensor, teacher: Tensor) -> tuple:
        student_rows, teacher_rows = (to_float(x).flatten(0, 1) for x in (student, teacher.detach()))
        # The linear maps follow the dtype of what the distiller gives them.
        pair = tuple(make_pair(4, 4, 3)[0].to(student_rows.device, student_rows.dtype) for _ in range(2))
        return student_rows, teacher_rows, graphs_of(teacher_rows, [9] * len(student) or [0]), pair

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            return our_loss(*self.problem(student, teacher)).mean()

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return direct_loss(*self.problem(student, teacher)).mean()


@pytest.mark.parametrize('pool', [False, True])
@pytest.mark.parametrize('edge', ['concat', 'difference'])
@pytest.mark.parametrize('temperature', [None, 0.5])
def test_values_and_gradients_are_those_of_the_direct_form(pool: bool, edge: str, temperature: float | None) -> None:
    """Samples of different sizes: fewer points than N in one, fewer than K in another, one point, none."""
    counts = [20, 5, 3, 1, 0]
    teacher, student = draw(sum(counts), 5), draw(sum(counts), 4, seed=1).requires_grad_()
    graphs = graphs_of(teacher, counts, temperature=temperature)
    pair = make_pair(4, 5, 3, edge)
    leaves = [student, *pair[0].parameters(), *pair[1].parameters()]
    results = []
    for loss in (our_loss, direct_loss):
        value = loss(student, teacher, graphs, pair, pool)
        results.append((value, torch.autograd.grad(value @ torch.arange(1.0, 6.0).double(), leaves)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-9, atol=1e-12)
    for first, second in zip(results[0][1], results[1][1]):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


def test_samples_of_one_size_share_a_graph() -> None:
    teacher, student = draw(27, 4), draw(27, 4, seed=1)
    single = graphs_of(teacher, [9, 9, 9])
    weigh = partial(reweighting, temperature=1.0)
    shared = build_graph(teacher.view(3, 9, 4), channel_max(teacher).view(3, 9), 6, 4, weigh)
    for one, *all_of_them in zip(shared.neighbours, (graph.neighbours[0] for graph in single)):
        assert torch.equal(one.sort(dim=1).values, all_of_them[0].sort(dim=1).values)
    wanted = our_loss(student, teacher, single, PAIR)
    torch.testing.assert_close(our_loss(student, teacher, [shared], PAIR), wanted)


def test_gradcheck() -> None:
    teacher, student = draw(8, 4), draw(8, 4, seed=1).requires_grad_()
    graphs = graphs_of(teacher, [8], number=4, neighbours=3)
    selected = graphs[0].centers.flatten()
    fixed = make_pair(4, 4, 2)[1](teacher, selected)

    def loss(x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        values = torch.cat([fixed[0], x @ weight[:4]], dim=1)
        centers = torch.cat([fixed[1], x[selected] @ weight[4:]], dim=1)
        terms = normalize_edges(values, centers, graphs, scale, shift, chunk=16)
        return local_graph_loss(*terms, graphs, chunk=16).sum()

    weight = draw(8, 2, seed=2).requires_grad_()
    scale, shift = draw(2, 4, seed=3)
    assert torch.autograd.gradcheck(loss, (student, weight, scale.abs().requires_grad_(), shift.requires_grad_()))


def test_order_of_points_does_not_matter() -> None:
    teacher, student = draw(30, 4), draw(30, 4, seed=1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    first = our_loss(student, teacher, graphs_of(teacher, [30]), PAIR)
    second = our_loss(student[order], teacher[order], graphs_of(teacher[order], [30]), PAIR)
    torch.testing.assert_close(first, second)


def test_size_does_not_depend_on_points_neighbours_or_samples() -> None:
    """The same points several times over, with as many times the neighbours, are the same loss."""
    teacher, student = draw(12, 4), draw(12, 4, seed=1)
    once = our_loss(student, teacher, graphs_of(teacher, [12], 6, 4), PAIR)
    repeated = [x.repeat(6, 1) for x in (student, teacher)]
    thrice = our_loss(*repeated, graphs_of(repeated[1], [36, 36], 18, 12), PAIR)
    torch.testing.assert_close(thrice, once.expand(2))


def test_spread_is_that_of_all_outputs() -> None:
    teacher, student = draw(29, 4), draw(29, 4, seed=1)
    graphs = graphs_of(teacher, [20, 9])
    values, centers = terms_of(student, teacher, graphs, PAIR)
    parts = zip(graphs, centers.split([graph.centers.numel() for graph in graphs]))
    every = [(values[graph.neighbours[0]] + part[:, None]).relu().flatten(0, 1) for graph, part in parts]
    wanted = torch.cat(every).std(dim=0, correction=0).view(2, -1).mean(dim=1)
    torch.testing.assert_close(edge_spread(values, centers, graphs), wanted)
    ones, zeros = torch.ones(6).double(), torch.zeros(6).double()
    assert (edge_spread(*normalize_edges(values, centers, graphs, ones, zeros), graphs) > 0.4).all()
    constant = edge_spread(*normalize_edges(values, centers, graphs, zeros, ones), graphs)
    torch.testing.assert_close(constant, torch.zeros(2).double())


COUNTS = [9, 7, 20, 0, 4]


def _step(first: int, last: int) -> dict[str, Tensor]:
    """Return loss and gradients of a share of the samples, scaled so that ranks average to the whole."""
    rows = slice(sum(COUNTS[:first]), sum(COUNTS[:last]))
    teacher, student = draw(sum(COUNTS), 5)[rows], draw(sum(COUNTS), 4, seed=1)[rows]
    pair = make_pair(4, 5, 3)
    world = dist.get_world_size() if dist.is_initialized() else 1
    total = world * our_loss(student, teacher, graphs_of(teacher, COUNTS[first:last]), pair).sum() / 4
    named = {f'{role}.{name}': x for role, adapter in zip('st', pair) for name, x in adapter.named_parameters()}
    grads = torch.autograd.grad(total, list(named.values()))
    if dist.is_initialized():
        for grad in grads:
            dist.all_reduce(grad)
    return {'loss': total.detach(), **dict(zip(named, (grad / world for grad in grads)))}


def _share() -> dict[str, Tensor]:
    return _step(0, 2) if dist.get_rank() == 0 else _step(2, 5)


@pytest.mark.distributed
def test_two_ranks_give_the_gradients_of_one(tmp_path: Path) -> None:
    """Normalisation and weights included, with different numbers of samples and points on each."""
    wanted = _step(0, 5)
    ranks = on_two_ranks(tmp_path, _share)
    torch.testing.assert_close((ranks[0]['loss'] + ranks[1]['loss']) / 2, wanted['loss'])
    for name in wanted.keys() - {'loss'}:
        torch.testing.assert_close(ranks[0][name], wanted[name], msg=lambda text, name=name: f'{name}: {text}')
