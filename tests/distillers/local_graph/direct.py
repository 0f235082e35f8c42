"""The loss by its definition: every edge as a row of a tensor, nothing shared, nothing in chunks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.distillers.local_graph.edge_adapter import EdgeAdapter
from kd_plugins.distillers.local_graph.graphs import LocalGraph
from kd_plugins.distillers.local_graph.loss import local_graph_loss, normalize_edges

Graphs = Sequence[LocalGraph]
Adapters = tuple[EdgeAdapter, EdgeAdapter]
"""Edge functions of student and teacher."""


def edge_features(rows: Tensor, centers: Tensor, neighbours: Tensor, edge: str = 'concat') -> Tensor:
    """Return the edges of one sample, (N, K, 2 C), row by row."""
    actual = []
    for center, near in zip(centers.tolist(), neighbours.tolist()):
        for neighbour in near:
            first = rows[neighbour] - rows[center] if edge == 'difference' else rows[neighbour]
            actual.append(torch.cat([first, rows[center]]))
    return (
        torch.stack(actual).view(*neighbours.shape, -1)
        if actual
        else rows.new_zeros(*neighbours.shape, 2 * rows.shape[1])
    )


def direct_loss(
    student: Tensor,
    teacher: Tensor,
    graphs: Graphs,
    pair: Adapters,
    pool: bool = False,
) -> Tensor:
    """Return the loss of each sample, with PyTorch's BatchNorm over all edges of all samples."""
    samples = [sample for graph in graphs for sample in zip(*graph)]
    outputs = []
    for adapter, rows in zip(pair, (student, teacher)):
        edges = [edge_features(rows, centers, near, adapter.edge) for centers, near, _ in samples]
        flat = torch.cat([part.flatten(0, 1) for part in edges]) @ adapter.projection.weight.T
        flat = F.relu(F.batch_norm(flat, None, None, adapter.scale, adapter.shift, training=True))
        parts = flat.split([part.shape[0] * part.shape[1] for part in edges])
        outputs.append([part.view(*like.shape[:2], flat.shape[1]) for part, like in zip(parts, edges)])
    losses = []
    for s, t, (centers, _, weights) in zip(*outputs, samples):
        if pool and len(centers):
            s, t = s.amax(dim=1, keepdim=True), t.amax(dim=1, keepdim=True)
        gaps = (s - t).square().flatten(1)
        losses.append(2 * (weights * (gaps.mean(dim=1) if len(centers) else gaps.sum(dim=1))).sum())
    return torch.stack(losses)


def terms_of(student: Tensor, teacher: Tensor, graphs: Graphs, pair: Adapters) -> tuple[Tensor, Tensor]:
    """Return neighbour and centre terms, the student's first."""
    selected = torch.cat([graph.centers.flatten() for graph in graphs])
    values, centers = zip(*(adapter(x, selected) for adapter, x in zip(pair, (student, teacher))))
    return torch.cat(values, dim=1), torch.cat(centers, dim=1)


def our_loss(
    student: Tensor,
    teacher: Tensor,
    graphs: Graphs,
    pair: Adapters,
    pool: bool = False,
    chunk: int = 64,
) -> Tensor:
    """Return the same from the library, in small chunks."""
    scale, shift = (torch.cat([getattr(adapter, name) for adapter in pair]) for name in ('scale', 'shift'))
    terms = normalize_edges(*terms_of(student, teacher, graphs, pair), graphs, scale, shift, chunk=chunk)
    return local_graph_loss(*terms, graphs, pool, chunk)


def make_pair(
    student: int, teacher: int, channels: int, edge: str = 'concat', seed: int = 1
) -> tuple[EdgeAdapter, EdgeAdapter]:
    """Return two adapters in float64 whose normalisation is no identity."""
    torch.manual_seed(seed)
    pair = EdgeAdapter(student, channels, edge).double(), EdgeAdapter(teacher, channels, edge).double()
    for adapter in pair:
        adapter.scale.data.normal_(1.0, 0.5)
        adapter.shift.data.normal_(0.3, 0.5)
    return pair
