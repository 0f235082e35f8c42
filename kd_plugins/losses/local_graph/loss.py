"""The loss on local graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..reduction import to_float
from .edges import CHUNK, edge_gap, edge_outputs, edge_statistics, pooled_gap


class LocalGraph(NamedTuple):
    """Selected points of one sample and their neighbours."""

    centers: Tensor
    """Indices of the selected points, (N,)."""
    neighbours: Tensor
    """Indices of their neighbours, (N, K)."""
    weights: Tensor
    """How much each counts, (N,)."""


class EdgeTerms(NamedTuple):
    """The linear part of one sample's edges, teacher and student side by side."""

    values: Tensor
    """Neighbour terms, (n, 2 C')."""
    centers: Tensor
    """Centre terms, (N, 2 C')."""


def normalize_edges(
    terms: Sequence[EdgeTerms],
    graphs: Sequence[LocalGraph],
    scale: Tensor,
    shift: Tensor,
    eps: float = 1e-5,
    chunk: int = CHUNK,
) -> list[EdgeTerms]:
    """Return the terms of the edges after BatchNorm; every rank must call it.

    Its statistics are those of all edges of all samples of all ranks, so that no rank's share of the batch matters.

    Args:
        terms: Of each sample.
        graphs: Of each sample.
        scale: BatchNorm's weight of teacher and student, (2 C',).
        shift: BatchNorm's bias of both, (2 C',).
        eps: Added to the variance.
        chunk: Most numbers in a working tensor, unless the edges of one point need more.

    Returns:
        Terms of each sample in float32 (float64 for float64).
    """
    terms = [EdgeTerms(to_float(values), to_float(centers)) for values, centers in terms]
    mean, variance = edge_statistics(terms, [graph.neighbours for graph in graphs], chunk)
    scale = to_float(scale) * (variance + eps).rsqrt()
    shift = to_float(shift) - mean * scale
    return [EdgeTerms(values * scale, torch.addcmul(shift, centers, scale)) for values, centers in terms]


def local_graph_loss(
    terms: Sequence[EdgeTerms], graphs: Sequence[LocalGraph], pool: bool = False, chunk: int = CHUNK
) -> Tensor:
    r"""Return the loss of each sample (arXiv 2205.11098, section 3.2, with the factor 2 of the released code).

    .. math::

        L = 2 \sum_i \phi_i \frac{1}{K C'} \sum_{k, c}
        \big(\gamma_T(e^T_{ik}) - \gamma_S(e^S_{ik})\big)^2_c, \quad \gamma(e) = relu(BN(W e))

    where :math:`e_{ik}` is the feature of neighbour k of point i beside that of the point itself. With weights
    :math:`\phi` that sum to 1 all sums are means: the size of the loss depends neither on the number of points,
    neighbours and channels nor on that of samples.

    Args:
        terms: :math:`BN(W e)` of each sample, from :func:`normalize_edges`.
        graphs: Of each sample.
        pool: Whether each point's edges are first pooled to their channels' maxima.
        chunk: Most numbers in a working tensor, unless the edges of one point need more.

    Returns:
        One value per sample, 0 for a sample without points.
    """
    losses = []
    for (values, centers), (_, neighbours, weights) in zip(terms, graphs):
        gaps = pooled_gap(values, centers, neighbours) if pool else edge_gap(values, centers, neighbours, chunk)
        losses.append(2.0 * (weights.detach() * gaps).sum())
    return torch.stack(losses)


@torch.no_grad()
def edge_spread(terms: Sequence[EdgeTerms], graphs: Sequence[LocalGraph], points: int = 32) -> Tensor:
    r"""Return the standard deviation of :math:`\gamma_T` and :math:`\gamma_S` over edges, a mean over their channels.

    Where both are near 0, the loss is small whatever the student does.

    Args:
        terms: As for :func:`local_graph_loss`.
        graphs: Of each sample.
        points: Only the edges of this many points of each sample are looked at.

    Returns:
        (2,), 0 where there is no edge.
    """
    outputs = torch.cat(
        [
            edge_outputs(values, centers[:points], graph.neighbours[:points]).flatten(0, 1)
            for (values, centers), graph in zip(terms, graphs)
        ]
    )
    count = max(len(outputs), 1)
    deviation = ((outputs - outputs.sum(dim=0) / count).square().sum(dim=0) / count).sqrt()
    return deviation.view(2, -1).mean(dim=1)
