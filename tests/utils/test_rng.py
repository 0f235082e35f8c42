"""Random numbers that leave those of the run alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from kd_plugins.utils import rng
from kd_plugins.utils.rng import forked_rng, seeded_rng


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


def test_numbers_come_from_the_seed_alone() -> None:
    seed(3)
    expected = draw()
    seed(3)
    with seeded_rng(5):
        first = draw()
    assert draw() == expected
    with seeded_rng(5):
        assert draw() == first
    with seeded_rng(6):
        assert not set(draw()) & set(first)


class Accelerator:
    """Generators of a device that this machine lacks, each with a number as its state."""

    def __init__(self, *states: int) -> None:
        self.states = list(states)

    def device_count(self) -> int:
        return len(self.states)

    def get_rng_state(self, device: int) -> int:
        return self.states[device]

    def set_rng_state(self, state: int, device: int) -> None:
        self.states[device] = state


class AppleAccelerator(Accelerator):
    """A device without an index, as ``torch.mps``."""

    def get_rng_state(self) -> int:  # type: ignore[override]
        return self.states[0]

    def set_rng_state(self, state: int) -> None:  # type: ignore[override]
        self.states[0] = state


@pytest.mark.parametrize(
    ('name', 'device'),
    [('mps', AppleAccelerator(3)), ('npu', Accelerator(3, 4)), ('cuda', Accelerator(5, 6)), ('musa', Accelerator(7))],
)
def test_generators_of_every_accelerator_go_on_as_well(
    monkeypatch: pytest.MonkeyPatch, name: str, device: Accelerator
) -> None:
    monkeypatch.setattr(rng, 'get_device', lambda: name)
    monkeypatch.setattr(torch, name, device, raising=False)
    before = list(device.states)
    with pytest.raises(RuntimeError, match='stopped'), forked_rng():
        device.states = [0] * len(before)
        raise RuntimeError('stopped')
    assert device.states == before
