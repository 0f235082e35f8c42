"""Sine encoding of the cells of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_positions(
    height: int,
    width: int,
    channels: int,
    device: torch.device | str = 'cpu',
    dtype: torch.dtype = torch.float32,
    temperature: float = 10000.0,
) -> Tensor:
    r"""Return the encoding of each cell, ``[sin(i w), cos(i w), sin(j w), cos(j w)]``, (height * width, channels).

    ``i`` is the row, ``j`` the column, counted in cells, and :math:`w_k = T^{-k / (C / 4)}`. The released code of
    D-FINE and RT-DETR numbers the cells of a map that is not square column by column, which attaches the encodings to
    other cells; here, as in transformers 5, cells are numbered row by row. MMDetection's ``SinePositionalEncoding``
    is another function.

    Args:
        height: Number of rows.
        width: Number of columns.
        channels: C, a multiple of 4.
        device: Device of the result.
        dtype: Dtype of the result; the computation is in float64.
        temperature: T.

    >>> cell_positions(1, 2, 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.0000, 1.0000, 0.8415, 0.5403]])
    """
    steps = torch.arange(channels // 4, dtype=torch.float64, device=device) / (channels // 4)
    frequencies = temperature**-steps
    rows = torch.arange(height, dtype=torch.float64, device=device)[:, None] * frequencies
    columns = torch.arange(width, dtype=torch.float64, device=device)[:, None] * frequencies
    by_row = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(-1, width, -1)
    by_column = torch.cat([columns.sin(), columns.cos()], dim=1)[None].expand(height, -1, -1)
    return torch.cat([by_row, by_column], dim=2).flatten(0, 1).to(dtype)


__all__ = ['cell_positions']
