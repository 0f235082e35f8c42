"""Sizes of D-FINE from the shapes of their weights."""

from __future__ import annotations

import pytest
import torch

from kd_plugins.conversion.sizes import SIZES, describe, measure, size_name
from tools.analysis.dfine_twins import ours


@pytest.mark.parametrize('size', list(SIZES))
def test_shipped_config_has_the_size(size: str) -> None:
    with torch.device('meta'):
        model = ours(size)
    held = measure(model.state_dict())
    assert held == SIZES[size]
    assert size_name(held) == size


def test_other_sizes_are_described() -> None:
    assert size_name(measure({})) is None
    assert describe(SIZES['x']) == 'D-FINE-X'
    assert 'a stem of 0 channels, 0 levels' in describe(measure({}))
