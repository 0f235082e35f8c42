"""Checks of probabilities and ranges."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip('mmdet')

from kd_plugins.datasets.detection_transforms.ranges import check_probability, check_range
from kd_plugins.errors import ConfigError


@pytest.mark.parametrize('value', [-0.1, 1.1, True, 'half', math.nan])
def test_only_numbers_from_0_to_1_are_probabilities(value: Any) -> None:
    with pytest.raises(ConfigError, match=r'^step\.prob is .*; valid: a number from 0 to 1$'):
        check_probability('step.prob', value)


@pytest.mark.parametrize('value', [(0.5,), (2, 1), 'ab', None, (0, math.inf), (-1, 1)])
def test_only_two_numbers_in_order_are_a_range(value: Any) -> None:
    with pytest.raises(ConfigError, match=r'^step\.scale is .*; give the least and the largest value, from 0 on$'):
        check_range('step.scale', value, 0.0)
