"""Random numbers that leave those of the run alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from kd_plugins.utils.rng import forked_rng


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def test_all_generators_go_on_where_they_were() -> None:
    seed(3)
    expected = draw()
    seed(3)
    with forked_rng():
        seed(4)
        inside = draw()
    assert draw() == expected and not set(inside) & set(expected)


def test_also_after_an_error() -> None:
    seed(3)
    expected = draw()
    seed(3)
    with pytest.raises(KeyError), forked_rng():
        draw()
        raise KeyError
    assert draw() == expected
