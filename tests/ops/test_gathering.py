"""Rows of all ranks."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from kd_plugins.ops.gathering import gather_rows
from tests.ranks import on_two_ranks


def _gathered(counts: list[int]) -> torch.Tensor:
    rank = dist.get_rank()
    return gather_rows(torch.full((counts[rank], 2), float(rank + 1)))


def test_rows_come_in_the_order_of_the_ranks(tmp_path: Path) -> None:
    for index, counts in enumerate(([2, 3], [0, 1], [0, 0])):
        folder = tmp_path / str(index)
        folder.mkdir()
        expected = torch.cat([torch.full((count, 2), float(rank + 1)) for rank, count in enumerate(counts)])
        for rows in on_two_ranks(folder, _gathered, counts):
            assert torch.equal(rows, expected)


def test_one_process_keeps_its_rows() -> None:
    rows = torch.rand(3, 2)
    assert gather_rows(rows) is rows
