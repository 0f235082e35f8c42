from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from kd_plugins.losses.local_graph import (
    EdgeTerms,
    LocalGraph,
    channel_max,
    edge_spread,
    local_graph_loss,
    nearest_neighbours,
    normalize_edges,
    reweighting,
    top_points,
)
from kd_plugins.losses.reduction import to_float
from tests.losses.local_graph.direct import direct_loss, make_pair, our_loss
from tests.losses.tester import LossTester

PAIR = make_pair(4, 4, 3)


def graph_of(teacher: Tensor, number: int = 6, neighbours: int = 4, temperature: float | None = 1.0) -> LocalGraph:
    importance = channel_max(teacher)
    centers = top_points(importance, number)
    near = nearest_neighbours(teacher[centers], teacher, neighbours)
    return LocalGraph(centers, near, reweighting(importance[centers], temperature))


def draw(counts: list[int], channels: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, channels, generator=generator, dtype=torch.float64) for count in counts]


class TestLocalGraph(LossTester):
    """With one edge function for both, so that equal features have equal edges."""

    shape = (2, 9, 4)

    def samples(self, student: Tensor, teacher: Tensor) -> tuple:
        student, teacher = to_float(student), to_float(teacher.detach())
        # The linear maps follow the dtype of what the distiller gives them.
        pair = tuple(make_pair(4, 4, 3)[0].to(student.device, student.dtype) for _ in range(2))
        ours, theirs = list(student), list(teacher)
        if not ours:
            ours, theirs = [student.flatten(0, 1)], [teacher.flatten(0, 1)]
        return ours, theirs, [graph_of(x) for x in theirs], pair

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            return our_loss(*self.samples(student, teacher)).mean()

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return direct_loss(*self.samples(student, teacher)).mean()


@pytest.mark.parametrize('pool', [False, True])
@pytest.mark.parametrize('edge', ['concat', 'difference'])
@pytest.mark.parametrize('temperature', [None, 0.5])
def test_values_and_gradients_are_those_of_the_direct_form(pool: bool, edge: str, temperature: float | None) -> None:
    """Samples of different sizes: fewer points than N in one, fewer than K in another, a single one in the last."""
    counts = [20, 5, 3, 1]
    teachers, students = draw(counts, 5), [x.requires_grad_() for x in draw(counts, 4, seed=1)]
    graphs = [graph_of(x, number=6, neighbours=4, temperature=temperature) for x in teachers]
    pair = make_pair(4, 5, 3, edge)
    leaves = [*students, *pair[0].parameters(), *pair[1].parameters()]
    results = []
    for loss in (our_loss, direct_loss):
        value = loss(students, teachers, graphs, pair, pool)
        results.append((value, torch.autograd.grad(value @ torch.arange(1.0, 5.0).double(), leaves)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-9, atol=1e-12)
    for first, second in zip(results[0][1], results[1][1]):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


def test_gradcheck() -> None:
    teacher, student = draw([8], 4)[0], draw([8], 4, seed=1)[0].requires_grad_()
    graphs = [graph_of(teacher, number=4, neighbours=3)]
    pair = make_pair(4, 4, 2)

    def loss(x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        values, centers = x @ weight[:4], x[graphs[0].centers] @ weight[4:]
        fixed = pair[1](teacher, graphs[0].centers)
        terms = [EdgeTerms(torch.cat([fixed[0], values], 1), torch.cat([fixed[1], centers], 1))]
        terms = normalize_edges(terms, graphs, scale, shift, chunk=16)
        return local_graph_loss(terms, graphs, chunk=16).sum()

    weight = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(4, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (student, weight, scale, shift))


def test_order_of_points_does_not_matter() -> None:
    teacher, student = draw([30], 4)[0], draw([30], 4, seed=1)[0]
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    first = our_loss([student], [teacher], [graph_of(teacher)], PAIR)
    second = our_loss([student[order]], [teacher[order]], [graph_of(teacher[order])], PAIR)
    torch.testing.assert_close(first, second)


def test_size_does_not_depend_on_points_neighbours_or_samples() -> None:
    """The same points several times over, with as many times the neighbours, are the same loss."""
    teacher, student = draw([12], 4)[0], draw([12], 4, seed=1)[0]
    once = our_loss([student], [teacher], [graph_of(teacher, 6, 4)], PAIR)
    repeated = [x.repeat(3, 1) for x in (student, teacher)]
    thrice = our_loss([repeated[0]] * 2, [repeated[1]] * 2, [graph_of(repeated[1], 18, 12)] * 2, PAIR)
    torch.testing.assert_close(thrice, once.expand(2))


def test_spread_is_that_of_all_outputs() -> None:
    teachers, students = draw([20, 9], 4), draw([20, 9], 4, seed=1)
    graphs = [graph_of(x) for x in teachers]
    terms = []
    for s, t, graph in zip(students, teachers, graphs):
        halves = [adapter(x, graph.centers) for adapter, x in zip(PAIR, (t, s))]
        terms.append(EdgeTerms(*(torch.cat(both, dim=1) for both in zip(*halves))))
    outputs = torch.cat(
        [
            (values[graph.neighbours] + centers[:, None]).relu().flatten(0, 1)
            for (values, centers), graph in zip(terms, graphs)
        ]
    )
    wanted = outputs.std(dim=0, correction=0).view(2, -1).mean(dim=1)
    torch.testing.assert_close(edge_spread(terms, graphs), wanted)
    normal = normalize_edges(terms, graphs, torch.ones(6).double(), torch.zeros(6).double())
    assert (edge_spread(normal, graphs) > 0.4).all()
    constant = normalize_edges(terms, graphs, torch.zeros(6).double(), torch.ones(6).double())
    torch.testing.assert_close(edge_spread(constant, graphs), torch.zeros(2).double())


def _problem() -> tuple[list[Tensor], list[Tensor]]:
    return draw([9, 7, 20, 0, 4], 5), [x.requires_grad_() for x in draw([9, 7, 20, 0, 4], 4, seed=1)]


def _step(samples: slice) -> dict[str, Tensor]:
    """Return loss and gradients of a share of the samples, scaled so that ranks average to the whole."""
    teachers, students = _problem()
    pair = make_pair(4, 5, 3)
    total = our_loss(students[samples], teachers[samples], [graph_of(x) for x in teachers[samples]], pair).sum() / 4
    world = dist.get_world_size() if dist.is_initialized() else 1
    total = total * world
    grads = torch.autograd.grad(total, [*pair[0].parameters(), *pair[1].parameters(), *students[samples]])
    names = [f'{role}.{name}' for role, adapter in zip('st', pair) for name, _ in adapter.named_parameters()]
    if dist.is_initialized():
        for grad in grads[: len(names)]:
            dist.all_reduce(grad)
    return {'loss': total.detach(), **dict(zip(names, (grad / world for grad in grads)))}


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    torch.save(_step(slice(0, 2) if rank == 0 else slice(2, 5)), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_two_ranks_give_the_gradients_of_one(tmp_path: Path) -> None:
    """Normalisation and weights included, with different numbers of samples and points on each."""
    wanted = _step(slice(0, 5))
    mp.spawn(_worker, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    torch.testing.assert_close((ranks[0]['loss'] + ranks[1]['loss']) / 2, wanted['loss'])
    for name in wanted.keys() - {'loss'}:
        torch.testing.assert_close(ranks[0][name], wanted[name], msg=lambda text, name=name: f'{name}: {text}')
