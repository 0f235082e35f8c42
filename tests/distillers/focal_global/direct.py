"""Focal and global distillation by its definition, image by image and box by box."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def wave(function: Any, phase: float, step: float, shape: tuple[int, ...]) -> Tensor:
    """Values of a sine or cosine in row-major order, the inputs of the golden values."""
    return function(torch.arange(math.prod(shape), dtype=torch.float64) * step + phase).float().view(shape)


def golden_maps(shape: tuple[int, ...] = (2, 4, 6, 8)) -> tuple[Tensor, Tensor]:
    return wave(torch.sin, 0.0, 0.37, shape), wave(torch.cos, 0.2, 0.53, shape)


GOLDEN_BOXES = [[[1.0, 1.0, 3.0, 2.0], [0.0, 0.0, 7.0, 5.0]], [[2.0, 2.0, 5.0, 5.0]]]
# Terms of the released functions (yzd-v/FGD at c03a6cf) for these maps and boxes, images of 6x8, temperature 0.5.
GOLDEN_TERMS = [5.532611, 2.453466, 19.295433, 193.549072]


def direct_foreground(
    boxes: Tensor, grid: tuple[int, int], image: tuple[int, int], size: tuple[int, int], clipped: bool = True
) -> Tensor:
    """Weights of one image; ``image`` is its size without padding and ``size`` that with it.

    Without ``clipped``, cells beyond the map count in the area of a box, as in the release.
    """
    rows, columns = (math.ceil(cells * one / all_) for cells, one, all_ in zip(grid, image, size))
    scale = torch.zeros(grid)
    for x1, y1, x2, y2 in boxes.tolist():
        if x2 <= x1 or y2 <= y1:
            continue
        left, right = math.floor(x1 * grid[1] / size[1]), math.ceil(x2 * grid[1] / size[1])
        top, bottom = math.floor(y1 * grid[0] / size[0]), math.ceil(y2 * grid[0] / size[0])
        cells = [
            (row, column)
            for row in range(max(top, 0), min(bottom, rows - 1) + 1)
            for column in range(max(left, 0), min(right, columns - 1) + 1)
        ]
        count = len(cells) if clipped else (bottom - top + 1) * (right - left + 1)
        for row, column in cells:
            scale[row, column] = max(scale[row, column].item(), 1 / count)
    return scale


def direct_attention(x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Spatial and channel attention of the map (C, H, W) of one image."""
    channels, height, width = x.shape
    strength = x.abs().mean(0).flatten() / temperature
    return (
        (height * width * strength.softmax(0)).view(height, width),
        channels * (x.abs().mean((1, 2)) / temperature).softmax(0),
    )


def direct_terms(student: Tensor, teacher: Tensor, scale: Tensor, temperature: float, gap: Tensor) -> Tensor:
    """The four terms of one image: maps (C, H, W), scale (H, W) and the difference of the contexts (C,)."""
    own, target = direct_attention(student, temperature), direct_attention(teacher, temperature)
    squares = target[0] * target[1][:, None, None] * (student - teacher) ** 2
    outside = (scale == 0).to(student.dtype)
    background = outside / outside.sum().clamp(min=1)
    return torch.stack(
        [
            (scale * squares).sum(),
            (background * squares).sum(),
            (own[1] - target[1]).abs().sum() + (own[0] - target[0]).abs().sum(),
            ((student + gap[:, None, None] - teacher) ** 2).sum(),
        ]
    )


class DirectLoss(nn.Module):
    """The sum of the terms of one level, with the layers of the released class and its treatment of padding."""

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        name: str,
        temp: float = 0.5,
        alpha_fgd: float = 1e-3,
        beta_fgd: float = 5e-4,
        gamma_fgd: float = 1e-3,
        lambda_fgd: float = 5e-6,
    ) -> None:
        super().__init__()
        self.temperature = temp
        self.factors = [alpha_fgd, beta_fgd, gamma_fgd, lambda_fgd]
        for side in 's', 't':
            setattr(self, f'conv_mask_{side}', nn.Conv2d(teacher_channels, 1, 1))
            half = teacher_channels // 2
            layers = [nn.Conv2d(teacher_channels, half, 1), nn.LayerNorm([half, 1, 1]), nn.ReLU()]
            setattr(self, f'channel_add_conv_{side}', nn.Sequential(*layers, nn.Conv2d(half, teacher_channels, 1)))

    def context(self, side: str, x: Tensor) -> Tensor:
        """The context of a map (1, C, H, W), (C,)."""
        scores = getattr(self, f'conv_mask_{side}')(x).flatten().softmax(0)
        pooled = (x[0].flatten(1) * scores).sum(1).view(1, -1, 1, 1)
        return getattr(self, f'channel_add_conv_{side}')(pooled).flatten()

    def forward(self, student: Tensor, teacher: Tensor, boxes: list[Tensor], metas: list[dict]) -> Tensor:
        grid = (student.shape[2], student.shape[3])
        terms = []
        for s, t, some, meta in zip(student, teacher, boxes, metas):
            size = meta['img_shape'][:2]
            scale = direct_foreground(some.float().cpu(), grid, size, size, clipped=False).to(s)
            gap = self.context('s', s[None]) - self.context('t', t[None])
            terms.append(direct_terms(s, t, scale, self.temperature, gap))
        mean = torch.stack(terms).mean(0)
        return (mean * mean.new_tensor(self.factors)).sum()
