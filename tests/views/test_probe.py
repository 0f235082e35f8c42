"""The probe tells a move of pixels from a change of colours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_plugins.errors import ConfigError
from kd_plugins.ops.photometric import gaussian_blur
from kd_plugins.views.probe import ALIKE, check_step, likeness, probe_picture
from kd_plugins.views.steps import ModuleStep

PICTURE = probe_picture()


def erased(picture: Tensor) -> Tensor:
    result = picture.clone()
    result[:, 20:80, 30:100] = torch.rand(3, 60, 70)
    return result


@pytest.mark.parametrize(
    'change',
    [
        lambda x: 1 - x,
        lambda x: x.flip(0),
        lambda x: (x + 0.4).clamp(max=1),
        lambda x: gaussian_blur(x[None], torch.tensor([2.0]), 6)[0],
        lambda x: (x + 0.3 * torch.randn_like(x)).clamp(0, 1),
        lambda x: torch.zeros_like(x),
        erased,
    ],
)
def test_colours_blur_noise_and_erasing_are_alike(change) -> None:
    torch.manual_seed(0)
    assert likeness(PICTURE, change(PICTURE)) > ALIKE


@pytest.mark.parametrize(
    'change',
    [
        lambda x: x.flip(1),
        lambda x: x.flip(2),
        lambda x: x.rot90(1, (1, 2)),
        lambda x: x.roll(8, 1),
        lambda x: F.interpolate(x[None, :, :96, :96], (128, 128))[0],
        lambda x: x.roll((16, 16), (1, 2)),
    ],
)
def test_moves_are_not(change) -> None:
    assert likeness(PICTURE, change(PICTURE)) < ALIKE


def test_a_rare_move_is_found() -> None:
    class Rarely(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flip(3) if torch.rand(()) < 0.3 else images

    with pytest.raises(ConfigError, match='x: Rarely changes positions'):
        check_step(ModuleStep(Rarely(), 'x'))


def test_a_memory_is_found() -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            return images * 0.5**self.calls

    with pytest.raises(ConfigError, match='x: Counting gives two results for one seed'):
        check_step(ModuleStep(Counting(), 'x'))


def test_the_generators_of_the_run_stay() -> None:
    state = torch.get_rng_state()
    check_step(ModuleStep(nn.Dropout(0.1), 'x'))
    assert torch.equal(torch.get_rng_state(), state)
