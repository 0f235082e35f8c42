"""Sine encoding of cells: values by hand, rows before columns."""

from __future__ import annotations

import math

import torch

from kd_plugins.models.hybrid_encoder.positions import cell_positions


def test_values_by_hand() -> None:
    table = cell_positions(3, 5, 8, dtype=torch.float64)
    assert table.shape == (15, 8)
    row, column = 2, 4
    slow = 10000.0**-0.5
    expected = [math.sin(row), math.sin(row * slow), math.cos(row), math.cos(row * slow)]
    expected += [math.sin(column), math.sin(column * slow), math.cos(column), math.cos(column * slow)]
    torch.testing.assert_close(table[row * 5 + column], torch.tensor(expected, dtype=torch.float64))
    assert cell_positions(1, 1, 4).dtype == torch.float32
