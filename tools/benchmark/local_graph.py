"""Compare time and memory of local graph distillation with its direct form: ``python tools/benchmark/local_graph.py``.

Both sides get the same features and importance of one cloud and compute the loss of PointDistiller and its gradients:
the most important points, their nearest neighbours in the teacher's feature space, two edge functions with BatchNorm,
and the reweighted squared difference. The direct form follows the definition, as the released code does: the matrix of
all distances, a tensor of the features of all neighbours and their centres, a 1x1 convolution, ``nn.BatchNorm2d`` and
ReLU on every edge. Runs of both sides alternate, so that other work on the machine slows both alike.

``search`` is the choice of points and neighbours, ``edges`` the rest, forward and backward; ``step`` is both. On one
CPU thread, seconds are processor time, which other processes hardly disturb. Memory is what a step needs beyond its
inputs and weights at its peak: on CUDA from the allocator, on the CPU the tensors that are alive
(:func:`kd_plugins.profiling.memory.peak_beyond`).
"""

from __future__ import annotations

import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.distillers.local_graph.edge_adapter import EdgeAdapter
from kd_plugins.distillers.local_graph.graphs import LocalGraph, build_graph
from kd_plugins.distillers.local_graph.loss import local_graph_loss, normalize_edges
from kd_plugins.distillers.local_graph.selection import reweighting
from kd_plugins.errors import ConfigError, KDPluginsError
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_side_options, check_sizes
from kd_plugins.profiling.memory import peak_beyond
from kd_plugins.profiling.sides import bytes_free, in_turn, relative_difference, seconds
from kd_plugins.utils.cli import note
from kd_plugins.utils.tables import print_table

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
CHECKED = 600  # points of the cloud on which both sides are compared in float64


def parser() -> ArgumentParser:
    """Return the parser; the defaults are the paper's sizes for PointPillars."""
    built = ArgumentParser(description='Compare local graph distillation with its direct form, forward and backward')
    built.add_argument('--points', type=int, default=12000, help='points of the cloud')
    built.add_argument('--selected', type=int, default=6000, help='points that are distilled')
    built.add_argument('--neighbours', type=int, default=128)
    built.add_argument('--channels', type=int, nargs=2, default=[64, 32], help="teacher's and student's")
    built.add_argument('--edge-channels', type=int, default=32)
    built.add_argument('--pool', action='store_true', help="pool each point's edges to their maxima")
    add_side_options(built, repeats=3)
    return built


class Side:
    """One implementation on one cloud.

    Args:
        args: Of the command line.
        points: Of the cloud.
        dtype: Of everything.
        seed: Draws the same features and weights for both sides.
    """

    def __init__(self, args: Namespace, points: int, dtype: torch.dtype, seed: int = 0) -> None:
        self.args = args
        torch.manual_seed(seed)
        drawn = [torch.randn(points, channels, dtype=torch.float64) for channels in (*args.channels, 1)]
        self.teacher, self.student, importance = (x.to(args.device, dtype) for x in drawn)
        self.importance = importance[:, 0]
        self.adapters = [EdgeAdapter(channels, args.edge_channels) for channels in args.channels]
        self.leaves = [self.student.requires_grad_()]
        for adapter in self.adapters:
            self.leaves += adapter.to(args.device, dtype).parameters()

    def held(self) -> list[Tensor]:
        """Return inputs and weights."""
        return [self.teacher, self.importance, *self.leaves]

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the last step."""
        return [x.grad for x in self.leaves if x.grad is not None]

    def search(self) -> LocalGraph:
        """Choose points and neighbours."""
        raise NotImplementedError

    def loss(self, graph: LocalGraph) -> Tensor:
        """Return the loss on a graph."""
        raise NotImplementedError

    def edges(self, graph: LocalGraph) -> Tensor:
        """Compute loss and gradients on a graph."""
        for x in self.leaves:
            x.grad = None
        loss = self.loss(graph)
        loss.backward()
        return loss.detach()

    def step(self) -> Tensor:
        """Compute everything."""
        return self.edges(self.search())


class Ours(Side):
    """Local graph distillation of this package."""

    def search(self) -> LocalGraph:
        """Choose points and neighbours, in chunks."""
        sizes = self.args.selected, self.args.neighbours
        return build_graph(self.teacher[None], self.importance[None], *sizes, lambda chosen: reweighting(chosen, 1.0))

    def loss(self, graph: LocalGraph) -> Tensor:
        """Return the loss from a term per point."""
        inputs = zip(self.adapters, (self.teacher, self.student))
        terms = zip(*(adapter(x, graph.centers.flatten()) for adapter, x in inputs))
        values, centers = (torch.cat(both, dim=1) for both in terms)
        scale, shift = (torch.cat([getattr(adapter, name) for adapter in self.adapters]) for name in ('scale', 'shift'))
        values, centers = normalize_edges(values, centers, [graph], scale, shift)
        return local_graph_loss(values, centers, [graph], self.args.pool).sum()


class Direct(Side):
    """Local graph distillation in its direct form."""

    def search(self) -> LocalGraph:
        """Choose points and neighbours from the matrix of all distances."""
        centers = self.importance.topk(min(self.args.selected, len(self.importance))).indices
        distances = torch.cdist(self.teacher[centers], self.teacher)
        neighbours = distances.topk(min(self.args.neighbours, len(self.teacher)), largest=False, sorted=False).indices
        chosen = self.importance[centers]
        weights = (chosen / chosen.std(correction=0)).softmax(dim=0)
        return LocalGraph(centers[None], neighbours[None], weights[None])

    def loss(self, graph: LocalGraph) -> Tensor:
        """Return the loss from a tensor of all edges."""
        outputs = []
        for adapter, x in zip(self.adapters, (self.teacher, self.student)):
            grouped = x[graph.neighbours[0]].permute(2, 0, 1)[None].contiguous()
            centers = x[graph.centers[0]].T[None, :, :, None].expand_as(grouped)
            edges = F.conv2d(torch.cat([grouped, centers], dim=1), adapter.projection.weight[:, :, None, None])
            outputs.append(F.relu(F.batch_norm(edges, None, None, adapter.scale, adapter.shift, training=True)))
        if self.args.pool:
            outputs = [x.amax(dim=3, keepdim=True) for x in outputs]
        return 2.0 * (graph.weights[0] * (outputs[0] - outputs[1]).square().mean(dim=(0, 1, 3))).sum()


def compare(args: Namespace, points: int, dtype: torch.dtype) -> dict[str, float]:
    """Compare loss and gradients of both sides, on the same neighbours, and how many neighbours are the same.

    Raises:
        KDPluginsError: If they differ.
    """
    mine, other = Ours(args, points, dtype), Direct(args, points, dtype)
    graph, wanted = mine.search(), other.search()
    loss = relative_difference(mine.edges(graph), other.edges(wanted._replace(neighbours=graph.neighbours)))
    gradient = max(relative_difference(a, b) for a, b in zip(mine.gradients(), other.gradients()))
    if not max(loss, gradient) < TOLERANCE[dtype]:
        raise KDPluginsError(f'the two sides differ: the loss by {loss:.1e}, the gradients by {gradient:.1e} ({dtype})')
    same = (graph.neighbours.sort(dim=2).values == wanted.neighbours.sort(dim=2).values).double().mean()
    return dict(loss=loss, gradient=gradient, same_neighbours=float(same))


def peak_bytes(side: Side, device: str) -> int:
    """Return how many bytes a step needs beyond inputs and weights."""
    for x in side.held():
        x.grad = None
    return peak_beyond(side.held(), side.step, device)


def bytes_needed(args: Namespace) -> int:
    """Estimate the direct form's peak: ten numbers per edge and channel, and the matrix of distances."""
    edges = args.selected * args.neighbours
    return 4 * (args.selected * args.points + edges * (4 * args.channels[0] + 2 * args.channels[1]) * 2)


def measure(sides: dict[str, Side], repeats: int, device: str) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each part of each side, run in turn after one run that is not counted."""
    wall = torch.device(device).type == 'cuda' or torch.get_num_threads() > 1
    timed = partial(seconds, device=device, clock=time.perf_counter if wall else time.process_time)
    times: dict[str, dict[str, list[float]]] = {name: {'search': [], 'edges': [], 'step': []} for name in sides}
    for name, counts in in_turn(list(sides), repeats):
        side, graphs = sides[name], list[LocalGraph]()
        search = timed(lambda: graphs.append(side.search()))  # noqa: B023 (called at once)
        edges = timed(lambda: side.edges(graphs[0]))  # noqa: B023
        if counts:
            for part, value in (('search', search), ('edges', edges), ('step', search + edges)):
                times[name][part].append(value)
    return times


def run(args: Namespace) -> dict[str, Any]:
    """Compare, measure and print."""
    torch.set_num_threads(args.threads)
    agreement = dict(float64=compare(args, min(CHECKED, args.points), torch.float64))
    sides: dict[str, Side] = {'ours': Ours(args, args.points, torch.float32)}
    needed, free = bytes_needed(args), bytes_free(args.device)
    if free is None or needed < 0.9 * free:
        agreement['float32'] = compare(args, args.points, torch.float32)
        sides['direct'] = Direct(args, args.points, torch.float32)
    else:
        note(
            f'the direct form would need about {needed / 2**30:.1f} GiB of the {free / 2**30:.1f} that are free, and '
            'is left out'
        )
    times = measure(sides, args.repeats, args.device)
    memory = {name: peak_bytes(side, args.device) for name, side in sides.items()}
    ratios: dict[str, float] = {}
    if 'direct' in sides:
        for part in ('search', 'edges', 'step'):
            pairs = zip(times['ours'][part], times['direct'][part])
            ratios[part] = statistics.median(other / mine for mine, other in pairs)
        ratios['memory'] = memory['direct'] / memory['ours']
    numbers = {name: [f'{statistics.median(values):.3f}' for values in times[name].values()] for name in sides}
    for name in sides:
        numbers[name].append(f'{memory[name] / 2**20:.0f}')
    numbers.setdefault('direct', ['does not fit'] * 4)
    quotients = [f'{ratio:.1f}' for ratio in ratios.values()] or [''] * 4
    names = ['search (s)', 'edges (s)', 'step (s)', 'memory (MiB)']
    rows = [list(row) for row in zip(names, numbers['ours'], numbers['direct'], quotients)]
    print_table(
        f'{args.selected} of {args.points} points, {args.neighbours} neighbours, {args.channels[0]} and '
        f'{args.channels[1]} channels to {args.edge_channels}, median of {args.repeats} ({args.device}, threads: '
        f'{args.threads})',
        ['', 'ours', 'direct', 'direct / ours'],
        rows,
    )
    for dtype, agreed in agreement.items():
        print(
            f'\n{dtype}: losses agree within {agreed["loss"]:.1e} and gradients within {agreed["gradient"]:.1e} '
            f'(relative); {100 * agreed["same_neighbours"]:.3f} % of the neighbours are the same.'
        )
    settings = {key: value for key, value in vars(args).items() if key != 'out'}
    return dict(
        settings=settings, torch=torch.__version__, agreement=agreement, seconds=times, bytes=memory, ratios=ratios
    )


def check_arguments(args: Namespace) -> None:
    """Refuse numbers that make no cloud.

    Raises:
        ConfigError: Naming the argument.
    """
    check_sizes(args, ['points', 'selected', 'neighbours', 'channels', 'edge_channels', 'repeats', 'threads'])
    for key in ('selected', 'neighbours'):
        if getattr(args, key) > args.points:
            raise ConfigError(f'--{key} is {getattr(args, key)}, more than the points; nearest: {args.points}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    return benchmark.main(parser(), run, arguments, check_arguments)


if __name__ == '__main__':
    sys.exit(main())
