"""Deformable attention of RT-DETR and RT-DETRv2, with projections of values and output.

Sources: RT-DETR (arXiv 2304.08069); RT-DETRv2 (arXiv 2407.17140); lyuwenyu/RT-DETR, ``MSDeformableAttention`` and
``deformable_attention_core_func_v2``. Shapes: N images, Q queries, P positions of all levels, H heads, S sampling
points of all levels, C channels, c = C / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...utils.checks import check_choice
from ..dfine.native.deformable_attention import PointsDeformableAttention, Shapes, level_values

KEY = 'model.decoder.layer_cfg.cross_attn_cfg'
METHODS = ('default', 'discrete')


class Memory(NamedTuple):
    """Output of the encoder, which every layer projects for itself."""

    tokens: Tensor
    """(N, P, C), levels one after the other, rows before columns."""
    shapes: Shapes
    """Height and width of each level."""
    mask: Tensor | None = None
    """Padded positions, (N, P)."""


def sample_cells(
    values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, num_points: Sequence[int]
) -> Tensor:
    """Return the weighted sum of the cells at some points, without interpolation.

    A point at ``(x, y)`` of a level of ``w`` times ``h`` cells takes the cell in column ``[x w + 0.5]`` and row
    ``[y h + 0.5]``, the nearest one inside the map. The release limits columns by the height, which differs for maps
    that are not square; here, as in transformers, by the width.

    Args:
        values: (N, P, H, c).
        shapes: Height and width of each level.
        locations: (x, y) of the points relative to their level, (N, Q, H, S, 2).
        weights: (N, Q, H, S).
        num_points: Number of points of each level; their sum is S.

    Returns:
        (N, Q, C).
    """
    cells, start = [], 0
    for points, (height, width) in zip(locations.split(list(num_points), dim=3), shapes):
        # Rounding toward zero, as in the release; what lies below zero becomes 0.
        column, row = (points * points.new_tensor([width, height]) + 0.5).long().unbind(-1)
        cells.append(start + row.clamp(0, height - 1) * width + column.clamp(0, width - 1))
        start += height * width
    index = torch.cat(cells, dim=3).transpose(1, 2)
    images, heads, queries, points_of_query = index.shape
    flat = index.reshape(images, heads, -1, 1).expand(-1, -1, -1, values.shape[-1])
    taken = values.transpose(1, 2).gather(2, flat).unflatten(2, (queries, points_of_query))
    return (taken * weights.transpose(1, 2)[..., None]).sum(dim=3).transpose(1, 2).flatten(2)


class ProjectedDeformableAttention(PointsDeformableAttention):
    """Deformable attention around boxes, with linear layers before and after the sampling.

    With the same number of points on every level and bilinear sampling it computes what mmcv's
    ``MultiScaleDeformableAttention`` does, without the residual connection, from parameters of the same names.

    Args:
        embed_dims: C.
        num_heads: H, a divisor of C.
        num_points: Number of points of each level, fine to coarse.
        method: ``'default'`` for bilinear samples; ``'discrete'`` for the nearest cells, with which RT-DETRv2 avoids
            an operator that some runtimes lack. Offsets then get no gradient, and do not train.
        kwargs: As in :class:`PointsDeformableAttention`.

    Raises:
        ConfigError: If an argument is not valid.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_points: Sequence[int] = (4, 4, 4),
        method: str = 'default',
        **kwargs: Any,
    ) -> None:
        super().__init__(embed_dims, num_heads, num_points, **kwargs)
        self.method = check_choice(f'{KEY}.method', method, METHODS)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self.output_proj = nn.Linear(embed_dims, embed_dims)
        self.sampling_offsets.requires_grad_(method == 'default')
        self.init_weights()

    def init_weights(self) -> None:
        """Initialize points as :class:`PointsDeformableAttention` does, and projections as in Deformable DETR."""
        super().init_weights()
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, query: Tensor, boxes: Tensor, values: Memory) -> Tensor:  # type: ignore[override]
        """Return the attended values, (N, Q, C).

        Args:
            query: (N, Q, C).
            boxes: See :meth:`PointsDeformableAttention.forward`.
            values: Output of the encoder.
        """
        projected = self.value_proj(values.tokens)
        if self.method == 'default':
            attended = super().forward(
                query, boxes, level_values(projected, values.shapes, self.num_heads, values.mask)
            )
            return self.output_proj(attended)
        if values.mask is not None:
            projected = projected.masked_fill(values.mask[..., None], 0.0)
        locations, weights = self.points(query, boxes)
        heads = projected.unflatten(-1, (self.num_heads, -1))
        attended = sample_cells(heads, values.shapes, locations, weights, self.num_points)
        return self.output_proj(attended.to(query.dtype))


__all__ = ['Memory', 'ProjectedDeformableAttention', 'sample_cells']
