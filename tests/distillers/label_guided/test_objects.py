"""Cells of objects by the share that they cover."""

from __future__ import annotations

import torch

from kd_plugins.distillers.label_guided.objects import cells_by_share, of_every_kind, on_images


def test_the_cell_with_the_largest_share_is_kept() -> None:
    shares = torch.tensor([[[[0.2, 0.4], [0.1, 0.0]], [[0.5, 0.6], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    assert cells_by_share(shares).int().tolist() == [[[[0, 1], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 0]]]]


def test_kinds_and_padding() -> None:
    valid, covered = torch.tensor([[False, True]]), torch.ones(1, 2, 1, 2) > 0
    objects = of_every_kind(torch.zeros(1, 2, 1), valid, lambda grid: covered, None)
    assert torch.equal(objects.valid, valid) and objects.labels.tolist() == [[-1, 1]]
    assert objects.cells((1, 2), None).tolist() == [[[[0, 0]], [[1, 1]]]], 'a kind that is not there has no cells'
    cells, inside = torch.ones(1, 2, 1, 2) > 0, torch.tensor([[[[True, False]]]])
    assert on_images(cells, None) is cells
    assert on_images(cells, inside).int().tolist() == [[[[1, 0]], [[1, 0]]]]
