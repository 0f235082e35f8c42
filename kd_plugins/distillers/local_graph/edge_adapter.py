"""Edge function of a local graph, without its normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import MODELS
from ...utils.checks import check_choice

EDGES = ('concat', 'difference')


@MODELS.register_module()
class EdgeAdapter(nn.Module):
    r"""Linear map and BatchNorm of EdgeConv (DGCNN, arXiv 1801.07829, section 3.1), applied per point and not per edge.

    The edge from centre :math:`x_i` to neighbour :math:`x_j` is :math:`W (x_j, x_i)` with ``edge='concat'`` and
    :math:`W (x_j - x_i, x_i)` with ``'difference'``. Both are the sum of a term of the neighbour and a term of the
    centre; :meth:`forward` returns these terms. ``scale`` and ``shift`` are the parameters of the BatchNorm in
    :func:`kd_plugins.distillers.local_graph.normalize_edges`. It has no running statistics, because distillers are used
    in training only.

    Args:
        in_channels: C, channels of a point.
        out_channels: C', channels of an edge.
        edge: ``'concat'`` or ``'difference'``.

    Raises:
        ConfigError: If ``edge`` is neither.

    >>> values, centers = EdgeAdapter(3, 8)(torch.zeros(10, 3), torch.arange(4))
    >>> values.shape, centers.shape
    (torch.Size([10, 8]), torch.Size([4, 8]))
    """

    def __init__(self, in_channels: int, out_channels: int, edge: str = 'concat') -> None:
        super().__init__()
        self.edge = check_choice('adapter.edge', edge, EDGES)
        # The first half of the input is the neighbour. The normalisation would cancel a bias.
        self.projection = nn.Linear(2 * in_channels, out_channels, bias=False)
        self.scale = nn.Parameter(torch.ones(out_channels))
        self.shift = nn.Parameter(torch.zeros(out_channels))

    def fix_normalization(self) -> None:
        """Keep scale and shift of the BatchNorm at 1 and 0; they are not trained."""
        for parameter in (self.scale, self.shift):
            parameter.requires_grad_(False)

    def forward(self, features: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the neighbour terms (n, C') of ``features`` (n, C) and the centre terms (N, C') of points ``centers``.

        Args:
            features: (n, C).
            centers: Indices, (N,).
        """
        neighbour, center = self.projection.weight.chunk(2, dim=1)
        if self.edge == 'difference':
            center = center - neighbour
        return F.linear(features, neighbour), F.linear(features.index_select(0, centers), center)
