"""Global context of a feature map, added to every position (GCNet, arXiv 1904.11492)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GlobalContext(nn.Module):
    r"""Context vector of each image, which FGD adds to every position of its map (arXiv 2111.11837, eq. 11).

    .. math:: g(x) = W_2 \, \mathrm{relu}\big(\mathrm{LN}(W_1 \sum_j \mathrm{softmax}_j(w \cdot x_j) \, x_j)\big)

    :math:`W_2` starts at 0, so that the context does. A bias before the softmax has no effect and is left out.

    Args:
        channels: C, at least 2.

    >>> GlobalContext(4)(torch.ones(2, 4, 6))
    tensor([[0., 0., 0., 0.],
            [0., 0., 0., 0.]], grad_fn=<AddmmBackward0>)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(channels))
        self.reduce = nn.Linear(channels, channels // 2)
        self.norm = nn.LayerNorm(channels // 2)
        self.expand = nn.Linear(channels // 2, channels)
        nn.init.normal_(self.query, std=(2 / channels) ** 0.5)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor, inside: Tensor | None = None) -> Tensor:
        """Return the context of each image, (N, C).

        Args:
            x: Maps with their positions in one dimension, (N, C, L).
            inside: Booleans (N, L), False on padding; None where all positions count.
        """
        scores = torch.einsum('c,ncl->nl', self.query, x)
        if inside is not None:
            scores = scores.masked_fill(~inside, float('-inf'))
        context = torch.einsum('ncl,nl->nc', x, scores.softmax(dim=1))
        expanded: Tensor = self.expand(self.norm(self.reduce(context)).relu())
        return expanded
