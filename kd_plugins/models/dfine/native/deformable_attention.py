"""Multi-scale deformable attention with a number of sampling points for each level.

Source: Peterande/D-FINE, ``src/zoo/dfine/dfine_decoder.py`` (``MSDeformableAttention``); points by level come from
RT-DETRv2 (arXiv 2407.17140). Shapes: N images, Q queries, P positions of all levels, H heads, S sampling points of
all levels, C channels, c = C / H.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from mmengine.model import BaseModule
from torch import Tensor, nn

from ....errors import ConfigError
from ....utils.checks import check_integer

Shapes = Sequence[tuple[int, int]]
"""Height and width of each level."""


class LevelValues(NamedTuple):
    """Values of every level, prepared once for all decoder layers."""

    maps: list[Tensor]
    """For ``grid_sample`` (N * H, c, height, width); for the kernel (N, height * width, H, c)."""
    shapes: Shapes
    """Height and width of each level."""
    kernel: bool
    """Whether mmcv's kernel samples."""


def level_values(memory: Tensor, shapes: Shapes, num_heads: int, mask: Tensor | None = None) -> LevelValues:
    """Split the memory of the encoder into levels and heads; head ``h`` owns channels ``[h * c, (h + 1) * c)``.

    Args:
        memory: (N, P, C), levels one after the other, rows before columns.
        shapes: Height and width of each level.
        num_heads: H.
        mask: Padded positions, (N, P); their values become 0.

    On a GPU mmcv's kernel samples, elsewhere and in an export ``grid_sample``.
    """
    if mask is not None:
        memory = memory.masked_fill(mask[..., None], 0.0)
    kernel = memory.is_cuda and not torch.onnx.is_in_onnx_export()
    parts = memory.unflatten(-1, (num_heads, -1)).split([height * width for height, width in shapes], dim=1)
    if kernel:
        return LevelValues([part.contiguous() for part in parts], shapes, kernel)
    maps = [part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, shape) for part, shape in zip(parts, shapes)]
    return LevelValues([part.contiguous() for part in maps], shapes, kernel)


def sample(values: LevelValues, locations: Tensor, weights: Tensor, num_points: Sequence[int]) -> Tensor:
    r"""Return the weighted sum of bilinear samples, :math:`\sum_s a_s V_{level(s)}(p_s)`.

    Args:
        values: From :func:`level_values`.
        locations: (x, y) of the points relative to their level, (N, Q, H, S, 2); outside of 0..1 the value is 0.
        weights: (N, Q, H, S).
        num_points: Number of points of each level; their sum is S.

    Returns:
        (N, Q, C).
    """
    levels = zip(values.maps, values.shapes, locations.split(list(num_points), 3), weights.split(list(num_points), 3))
    if values.kernel:
        parts = [MultiScaleDeformableAttnFunction.apply(*kernel_arguments(*level)) for level in levels]
        return torch.stack(parts).sum(dim=0)
    images, queries, heads = locations.shape[:3]
    total = sum(_grid_sample(*level) for level in levels)
    assert isinstance(total, Tensor)
    return total.unflatten(0, (images, heads)).permute(0, 3, 1, 2).reshape(images, queries, -1)


def _grid_sample(maps: Tensor, shape: tuple[int, int], locations: Tensor, weights: Tensor) -> Tensor:
    """Sample one level, (N * H, c, Q)."""
    grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    # Locations in half precision would be off by a cell of a large map.
    sampled = nn.functional.grid_sample(maps.to(grid.dtype), grid, align_corners=False)
    return (sampled * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(dim=-1)


def kernel_arguments(values: Tensor, shape: tuple[int, int], locations: Tensor, weights: Tensor) -> tuple[Any, ...]:
    """Return the arguments of mmcv's kernel, which samples one level, (N, Q, C).

    The kernel refuses tensors that are not contiguous, such as the parts of a split, and bfloat16, and it casts all to
    the dtype of the values.

    Args:
        values: (N, height * width, H, c).
        shape: Height and width of the level.
        locations: (N, Q, H, points, 2).
        weights: (N, Q, H, points).
    """
    shapes = torch.tensor([shape], device=values.device)
    # As with grid_sample, locations stay in their precision under autocast.
    dtype = torch.float32 if locations.dtype == torch.bfloat16 else locations.dtype
    floats = [part.to(dtype).contiguous() for part in (values, locations[:, :, :, None], weights[:, :, :, None])]
    # The kernel takes whole steps of images only.
    return floats[0], shapes, shapes.new_zeros(1), floats[1], floats[2], len(values)


class PointsDeformableAttention(BaseModule):
    """Deformable attention around boxes, without projections of values and output.

    A point lies at ``centre + offset / n * size * offset_scale`` with the number of points ``n`` of its level. One
    softmax covers the points of all levels.

    Args:
        embed_dims: C.
        num_heads: H, a divisor of C.
        num_points: Number of points of each level, fine to coarse.
        offset_scale: Distance of an offset of ``n``, in sizes of the box.
        batch_first: Always True, for MMDetection's decoder layers.
        init_cfg: See MMEngine.
    """

    points_scale: Tensor

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_points: Sequence[int] = (3, 6, 3),
        offset_scale: float = 0.5,
        batch_first: bool = True,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        key = 'model.decoder.layer_cfg.cross_attn_cfg'
        check_integer(f'{key}.num_heads', num_heads, 1, 'valid: a divisor of the channels, such as 8')
        if embed_dims % num_heads:
            raise ConfigError(
                f'{key}.num_heads is {num_heads!r}, which does not divide embed_dims={embed_dims}; nearest: '
                f'{max(n for n in range(1, num_heads + 1) if embed_dims % n == 0)}'
            )
        if isinstance(num_points, int) or not num_points or min(num_points) < 1:
            raise ConfigError(f'{key}.num_points is {num_points!r}; give a positive integer for each level: (3, 6, 3)')
        self.embed_dims, self.num_heads, self.num_points = embed_dims, num_heads, tuple(num_points)
        self.offset_scale = offset_scale
        points = sum(self.num_points)
        self.sampling_offsets = nn.Linear(embed_dims, num_heads * points * 2)
        self.attention_weights = nn.Linear(embed_dims, num_heads * points)
        scale = torch.tensor([1 / number for number in self.num_points for _ in range(number)])
        self.register_buffer('points_scale', scale[:, None], persistent=False)
        PointsDeformableAttention.init_weights(self)  # a subclass initializes its own parts

    def init_weights(self) -> None:
        """Initialize equal weights, and offsets in a direction of each head with growing distance."""
        for linear in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        angles = torch.arange(self.num_heads, dtype=torch.float32) * (2.0 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        distances = torch.cat([torch.arange(1, number + 1) for number in self.num_points])
        with torch.no_grad():
            self.sampling_offsets.bias.copy_((directions[:, None] * distances[:, None]).flatten())

    def forward(self, query: Tensor, boxes: Tensor, values: LevelValues) -> Tensor:
        """Return the attended values, (N, Q, C).

        Args:
            query: (N, Q, C).
            boxes: Normalised (cx, cy, w, h) of the queries: the same for all levels, (N, Q, 1, 4), or relative to each
                level, (N, Q, levels, 4).
            values: From :func:`level_values`.
        """
        locations, weights = self.points(query, boxes)
        return sample(values, locations, weights, self.num_points).to(query.dtype)

    def points(self, query: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return locations (N, Q, H, S, 2) relative to their level and weights (N, Q, H, S) of the sampling points.

        Args:
            query: (N, Q, C).
            boxes: See :meth:`forward`.
        """
        points = sum(self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (self.num_heads, points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, points)).softmax(dim=-1)
        if boxes.shape[2] > 1:
            boxes = torch.cat([boxes[:, :, i : i + 1].expand(-1, -1, n, -1) for i, n in enumerate(self.num_points)], 2)
        step = self.points_scale.to(query.dtype) * boxes[:, :, None, :, 2:] * self.offset_scale
        return boxes[:, :, None, :, :2] + offsets * step, weights
