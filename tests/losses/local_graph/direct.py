"""The loss by its definition: every edge as a row of a tensor, nothing shared, nothing in chunks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.adapters import EdgeAdapter
from kd_plugins.losses.local_graph import EdgeTerms, LocalGraph, local_graph_loss, normalize_edges


def edge_features(features: Tensor, graph: LocalGraph, edge: str = 'concat') -> Tensor:
    """Return (N, K, 2 C), row by row."""
    rows = []
    for center, neighbours in zip(graph.centers.tolist(), graph.neighbours.tolist()):
        for neighbour in neighbours:
            first = features[neighbour] - features[center] if edge == 'difference' else features[neighbour]
            rows.append(torch.cat([first, features[center]]))
    return torch.stack(rows).view(*graph.neighbours.shape, -1)


def direct_loss(
    students: Sequence[Tensor],
    teachers: Sequence[Tensor],
    graphs: Sequence[LocalGraph],
    pair: tuple[EdgeAdapter, EdgeAdapter],
    pool: bool = False,
) -> Tensor:
    """Return the loss of each sample, with PyTorch's BatchNorm over all edges of all samples."""
    outputs = []
    for adapter, samples in zip(pair, (students, teachers)):
        edges = [edge_features(x, graph, adapter.edge) for x, graph in zip(samples, graphs)]
        flat = torch.cat([rows.flatten(0, 1) for rows in edges]) @ adapter.projection.weight.T
        flat = F.relu(F.batch_norm(flat, None, None, adapter.scale, adapter.shift, training=True))
        parts = flat.split([rows.shape[0] * rows.shape[1] for rows in edges])
        outputs.append([part.view(*rows.shape[:2], -1) for part, rows in zip(parts, edges)])
    losses = []
    for s, t, graph in zip(*outputs, graphs):
        if pool:
            s, t = s.amax(dim=1, keepdim=True), t.amax(dim=1, keepdim=True)
        losses.append(2 * (graph.weights * (s - t).square().mean(dim=(1, 2))).sum())
    return torch.stack(losses)


def our_loss(
    students: Sequence[Tensor],
    teachers: Sequence[Tensor],
    graphs: Sequence[LocalGraph],
    pair: tuple[EdgeAdapter, EdgeAdapter],
    pool: bool = False,
    chunk: int = 64,
) -> Tensor:
    """Return the same from the library, in small chunks."""
    terms = []
    for s, t, graph in zip(students, teachers, graphs):
        values, centers = zip(*(adapter(x, graph.centers) for adapter, x in zip(pair, (s, t))))
        terms.append(EdgeTerms(torch.cat(values, dim=1), torch.cat(centers, dim=1)))
    scale, shift = (torch.cat([getattr(adapter, name) for adapter in pair]) for name in ('scale', 'shift'))
    return local_graph_loss(normalize_edges(terms, graphs, scale, shift, chunk=chunk), graphs, pool, chunk)


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
