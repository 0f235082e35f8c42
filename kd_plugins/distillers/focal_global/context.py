"""Global context of a feature map, added to every position (GCNet, arXiv 1904.11492)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEAST_CHANNELS = 4
"""Fewest channels of a map: its context has half of them, and the layer normalisation of one alone is constant."""


class _AttentionPool(torch.autograd.Function):
    """Mean of the positions, weighted by the softmax of their product with a query; only the weights are stored.

    The gradient of a map has rank 2, so that one product makes it, and not two with their sum.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, query: Tensor, inside: Tensor | None) -> Tensor:
        scores = torch.matmul(query, x)
        if inside is not None:
            scores = scores.masked_fill(~inside, float('-inf'))
        weights = scores.softmax(dim=1)
        ctx.save_for_backward(x, query, weights)
        return torch.bmm(x, weights[..., None])[..., 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, query, weights = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            of_weights = torch.bmm(gradient[:, None], x)[:, 0]
            of_scores = weights * (of_weights - (weights * of_weights).sum(dim=1, keepdim=True))
            of_query = torch.bmm(x, of_scores[..., None])[..., 0].sum(dim=0)
            of_x = None
            if ctx.needs_input_grad[0]:
                columns = torch.stack([gradient, query.expand_as(gradient)], dim=2)
                of_x = torch.bmm(columns, torch.stack([weights, of_scores], dim=1))
        return of_x, of_query, None


class GlobalContext(nn.Module):
    r"""Context vector of each image, which FGD adds to every position of its map (arXiv 2111.11837, eq. 11).

    .. math:: g(x) = W_2 \, \mathrm{relu}\big(\mathrm{LN}(W_1 \sum_j \mathrm{softmax}_j(w \cdot x_j) \, x_j)\big)

    :math:`W_2` starts at 0, so that the context does. A bias before the softmax has no effect and is left out.

    Args:
        channels: C, at least :data:`LEAST_CHANNELS`.

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
        pooled: Tensor = _AttentionPool.apply(x, self.query, inside)
        expanded: Tensor = self.expand(self.norm(self.reduce(pooled)).relu())
        return expanded
