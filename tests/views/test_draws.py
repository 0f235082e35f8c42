from __future__ import annotations

import math

import torch

from kd_plugins.views.draws import Draws, draw
from kd_plugins.views.settings import PRESETS, read_settings

IMAGES = 4000


def drawn(preset: str = 'unbiased_teacher', seed: int = 0, images: int = IMAGES, **overrides) -> Draws:
    settings = read_settings(preset, overrides, 'student_view')
    return draw(settings, torch.tensor([[60, 80]]).expand(images, 2), torch.Generator().manual_seed(seed))


def share(happens: torch.Tensor) -> float:
    return happens.float().mean().item()


def test_frequencies_and_ranges() -> None:
    draws = drawn()
    for happens, probability in [(draws.jitter, 0.8), (draws.grey, 0.2), (draws.blur, 0.5), (draws.easy, 0.0)]:
        assert abs(share(happens) - probability) < 0.03
    factors = draws.factors
    assert 0.6 <= factors[:, :3].min() < 0.61 and 1.39 < factors[:, :3].max() <= 1.4
    assert -0.1 <= factors[:, 3].min() < -0.099 and 0.099 < factors[:, 3].max() <= 0.1
    assert 0.1 <= draws.sigmas.min() < 0.11 and 1.99 < draws.sigmas.max() <= 2
    assert factors.mean(0).sub(torch.tensor([1.0, 1.0, 1.0, 0.0])).abs().max() < 0.02


def test_orders_are_all_permutations() -> None:
    order = drawn().order
    assert torch.equal(order.sort(1).values, torch.arange(4).expand(IMAGES, 4))
    assert len(order.unique(dim=0)) == 24


def test_a_strong_setting_does_not_invert_images() -> None:
    assert drawn(brightness=3.0).factors[:, 0].min() >= 0


def test_erasings() -> None:
    draws = drawn()
    assert draws.sizes.shape == draws.corners.shape == (IMAGES, 3, 2)
    for index, erasing in enumerate(PRESETS['unbiased_teacher'].erasings):
        height, width = draws.sizes[:, index].unbind(1)
        erased = height > 0
        assert abs(share(erased) - erasing.prob) < 0.03
        area, ratio = (height * width / 4800)[erased], (height / width)[erased]
        assert erasing.area[0] * 0.8 < area.min() and area.max() < erasing.area[1] * 1.2  # sides are whole pixels
        assert erasing.ratio[0] * 0.6 < ratio.min() and ratio.max() < erasing.ratio[1] * 1.6
        middle = math.sqrt(erasing.ratio[0] * erasing.ratio[1])
        assert abs(share(ratio > middle) - 0.5) < 0.1
    ends = draws.corners + draws.sizes
    assert draws.corners.min() == 0 and ends[..., 0].max() <= 60 and ends[..., 1].max() <= 80


def test_seed_decides() -> None:
    first, again, other = drawn(images=8), drawn(images=8), drawn(images=8, seed=1)
    assert all(torch.equal(value, vars(again)[name]) for name, value in vars(first).items())
    assert not torch.equal(first.factors, other.factors)


def test_a_setting_does_not_change_other_parameters() -> None:
    first, other = drawn(), drawn(hue=0.0, blur_prob=0.0, erasings=[], min_easy=1.0)
    assert torch.equal(first.order, other.order) and torch.equal(first.sigmas, other.sigmas)
    assert torch.equal(first.factors[:, :3], other.factors[:, :3]) and torch.equal(first.grey, other.grey)
    assert other.easy.all() and not other.blur.any() and other.sizes.shape == (IMAGES, 0, 2)


def test_an_empty_batch() -> None:
    assert drawn(images=0).sizes.shape == (0, 3, 2)
