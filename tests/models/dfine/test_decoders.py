"""Decoders with FDR: boxes on levels, the refiner between the layers, and what starts at zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip('mmdet')

from kd_plugins.models.dfine.decoders import on_levels
from tests.models.dfine.small_detectors import FAMILIES, batch, build, config


def test_boxes_relative_to_the_padded_map_of_each_level() -> None:
    reference = torch.tensor([[[0.5, 0.5, 0.2, 0.4]]])
    ratios = torch.tensor([[[1.0, 1.0], [0.5, 0.25]]])
    expected = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.25, 0.125, 0.1, 0.1]]])
    torch.testing.assert_close(on_levels(reference, ratios)[0], expected)
    torch.testing.assert_close(on_levels(reference[..., :2], ratios)[0], expected[..., :2])


@pytest.mark.parametrize('family', list(FAMILIES))
def test_every_layer_starts_from_the_box_before_it(family: str) -> None:
    """Where FDR shifts the box of one layer, the next layer sees the shifted box."""
    model = build(config(family)).eval()
    seen: list[Tensor] = []

    def record(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        # DAB-DETR's layers take the encoding of the box, the others the box itself.
        seen.append(kwargs['ref_sine_embed'] if family == 'dab' else kwargs['reference_points'])

    for layer in model.decoder.layers:
        layer.register_forward_pre_hook(record, with_kwargs=True)
    data = batch(model, [2, 2])
    with torch.no_grad():
        model(**data, mode='tensor')
        still, seen = seen, []
        for branch in model.bbox_head.fdr.distributions:
            branch[-1].bias.normal_()
        model(**data, mode='tensor')
    assert len(still) == len(seen) == len(model.decoder.layers) > 1
    torch.testing.assert_close(seen[0], still[0])
    assert not torch.allclose(seen[1], still[1], atol=1e-3)


def test_the_new_position_branch_starts_at_zero() -> None:
    decoder = build(config('deformable')).decoder
    assert decoder.query_position(torch.rand(1, 3, 4)).abs().max() == 0
