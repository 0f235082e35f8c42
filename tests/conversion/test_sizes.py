"""Sizes of D-FINE and RT-DETR from the shapes of their weights."""

from __future__ import annotations

import pytest
import torch

from kd_plugins.conversion.sizes import DFINE_SIZES, RTDETR_SIZES, SIZES, describe, measure, shipped, size_name
from tools.analysis.dfine_twins import shipped_model


@pytest.mark.parametrize('size', list(SIZES))
def test_shipped_config_has_the_size(size: str) -> None:
    with torch.device('meta'):
        model = shipped_model(shipped(size).rsplit('/', 1)[1].removesuffix('.py'), 80)
    held = measure(model.state_dict())
    assert held == SIZES[size]
    assert size_name(held) == size


def test_other_sizes_are_described() -> None:
    assert size_name(measure({})) is None
    assert describe(SIZES['x']) == 'D-FINE-X' and describe(SIZES['r50vd_m']) == 'RT-DETR r50vd_m'
    assert 'a stem of 0 channels, 0 levels' in describe(measure({}))
    deeper = RTDETR_SIZES['r18vd']._replace(layers=6)
    assert describe(deeper).startswith('an RT-DETR with basic blocks (2, 2, 2, 2), an encoder of 256 channels')
    assert len(set(SIZES.values())) == len(DFINE_SIZES) + len(RTDETR_SIZES)
