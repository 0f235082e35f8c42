"""Layers between the student's maps and the distance."""

from __future__ import annotations

import torch

from kd_plugins.distillers.label_guided.adapter import MapAdapter


def test_shapes_and_padding() -> None:
    levels, inside = [torch.randn(2, 4, 6, 6), torch.randn(2, 8, 3, 3)], torch.ones(2, 1, 6, 6, dtype=torch.bool)
    inside[0, :, :, 4:] = False
    adapter = MapAdapter([4, 8], 16)
    fine, coarse = adapter.adapted(levels, [inside, None])
    assert fine.shape == levels[0].shape and coarse.shape == levels[1].shape and (fine[0, :, :, 4:] == 0).all()
    (fine.sum() + coarse.sum()).backward()
    assert all(param.grad is not None for param in adapter.parameters())


def test_without_projections_the_convolutions_alone() -> None:
    adapter, x = MapAdapter([4]), torch.randn(1, 4, 5, 5)
    assert torch.equal(adapter.adapted([x], [None])[0], adapter(x, None))
    assert [name.split('.')[0] for name, _ in adapter.named_parameters()] == ['convolutions'] * 6
