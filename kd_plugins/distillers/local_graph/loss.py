"""Loss on local graphs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...ops.reduction import to_float
from .edges import CHUNK, edge_gap, edge_outputs, edge_statistics, pooled_gap
from .graphs import LocalGraph


def _neighbours(graphs: Sequence[LocalGraph]) -> list[Tensor]:
    return [graph.neighbours.flatten(0, 1) for graph in graphs]


def normalize_edges(
    values: Tensor,
    centers: Tensor,
    graphs: Sequence[LocalGraph],
    scale: Tensor,
    shift: Tensor,
    eps: float = 1e-5,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """Return the terms of the edges after BatchNorm; every rank must call it.

    The statistics are taken over all edges of all samples of all ranks, so that they do not depend on how the batch is
    split.

    Args:
        values: Neighbour terms of teacher and student side by side, (V, 2 C').
        centers: Centre terms of the selected points of all graphs, side by side likewise, (M, 2 C').
        graphs: Graphs of all samples.
        scale: Weight of the BatchNorm of both, (2 C',).
        shift: Bias of the BatchNorm of both, (2 C',).
        eps: Added to the variance.
        chunk: Largest number of elements of a working tensor, unless the edges of one point need more.

    Returns:
        ``values`` and ``centers``, normalised, in float32 (float64 for float64).
    """
    values, centers = to_float(values), to_float(centers)
    mean, variance = edge_statistics(values, centers, _neighbours(graphs), chunk)
    scale = to_float(scale) * (variance + eps).rsqrt()
    return values * scale, torch.addcmul(to_float(shift) - mean * scale, centers, scale)


def local_graph_loss(
    values: Tensor, centers: Tensor, graphs: Sequence[LocalGraph], pool: bool = False, chunk: int = CHUNK
) -> Tensor:
    r"""Return the loss of each sample (arXiv 2205.11098, section 3, with the factor 2 of the released code).

    .. math::

        L = 2 \sum_i \phi_i \frac{1}{K C'} \sum_{k, c}
        \big(\gamma_T(e^T_{ik}) - \gamma_S(e^S_{ik})\big)^2_c, \quad \gamma(e) = relu(BN(W e))

    where :math:`e_{ik}` joins the features of neighbour k of point i and of the point itself. With weights
    :math:`\phi` that sum to 1, all sums are means: the size of the loss does not depend on the number of points,
    neighbours, channels or samples.

    Args:
        values: Neighbour terms of :math:`BN(W e)` from :func:`normalize_edges`, (V, 2 C').
        centers: Centre terms of :math:`BN(W e)`, (M, 2 C').
        graphs: Graphs of all samples.
        pool: Whether each point's edges are first pooled to the maxima of their channels.
        chunk: Largest number of elements of a working tensor, unless the edges of one point need more.

    Returns:
        One value per sample, 0 for a sample without points.
    """
    losses = []
    parts = centers.split([graph.centers.numel() for graph in graphs])
    for part, graph, neighbours in zip(parts, graphs, _neighbours(graphs)):
        gaps = pooled_gap(values, part, neighbours) if pool else edge_gap(values, part, neighbours, chunk)
        losses.append(2.0 * (graph.weights.detach() * gaps.view(graph.weights.shape)).sum(dim=1))
    return torch.cat(losses)


@torch.no_grad()
def edge_spread(values: Tensor, centers: Tensor, graphs: Sequence[LocalGraph], points: int = 256) -> Tensor:
    r"""Return the standard deviation of :math:`\gamma_T` and :math:`\gamma_S` over edges, a mean over their channels.

    If both are near 0, the loss is small for any student.

    Args:
        values: See :func:`local_graph_loss`.
        centers: See :func:`local_graph_loss`.
        graphs: Graphs of all samples.
        points: Number of points of each group of samples whose edges are used.

    Returns:
        (2,), 0 where there is no edge.
    """
    outputs = []
    parts = centers.split([graph.centers.numel() for graph in graphs])
    for part, neighbours in zip(parts, _neighbours(graphs)):
        # Evenly spaced points, so that all samples are represented.
        used = slice(None, None, max(len(part) // points, 1))
        outputs.append(edge_outputs(values, part[used], neighbours[used]).flatten(0, 1))
    edges = torch.cat(outputs)
    count = max(len(edges), 1)
    deviation = ((edges - edges.sum(dim=0) / count).square().sum(dim=0) / count).sqrt()
    return deviation.view(2, -1).mean(dim=1)
