from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, kl_divergence

from kd_plugins.losses import LaplaceKLLoss, laplace_kl, laplace_kl_loss
from kd_plugins.ops.reduction import to_float
from kd_plugins.registry import MODELS
from tests.losses.tester import LossTester


def split(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Locations and scales of raw outputs (N, K, 4), as RLEHead gives them."""
    return outputs[..., :2], to_float(outputs[..., 2:]).sigmoid()


class TestLaplace(LossTester):
    shape = (2, 3, 4)
    scale = 1.0

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return laplace_kl_loss(split(student), split(teacher))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        (mean, scale), (teacher_mean, teacher_scale) = split(student), split(teacher)
        distributions = Laplace(teacher_mean, teacher_scale), Laplace(mean, scale)
        return kl_divergence(*distributions).sum(dim=-1).mean()


def simpson(f: Callable[[Tensor], Tensor], lower: float, upper: float, steps: int = 20_000) -> float:
    x = torch.linspace(lower, upper, steps + 1, dtype=torch.float64)
    weight = torch.full_like(x, 2.0)
    weight[1::2] = 4.0
    weight[[0, -1]] = 1.0
    return float((f(x) * weight).sum() * (upper - lower) / steps / 3)


CASES = [
    (0.0, 1.0, 0.0, 1.0),
    (0.3, 0.5, -0.4, 1.2),
    (2.0, 1.5, -1.0, 0.4),
    (-1.0, 0.7, 1.0, 0.7),
    (0.0, 3.0, 0.0, 0.5),
]


@pytest.mark.parametrize('case', CASES, ids=str)
def test_value_by_integration(case: tuple[float, float, float, float]) -> None:
    mean, scale, teacher_mean, teacher_scale = case

    def integrand(x: Tensor) -> Tensor:
        log_p = -(x - teacher_mean).abs() / teacher_scale - math.log(2 * teacher_scale)
        log_q = -(x - mean).abs() / scale - math.log(2 * scale)
        return log_p.exp() * (log_p - log_q)

    # Between its two kinks the integrand is smooth; beyond 60 scales of the teacher nothing is left.
    knots = sorted({mean, teacher_mean, teacher_mean - 60 * teacher_scale, teacher_mean + 60 * teacher_scale})
    expected = sum(simpson(integrand, lower, upper) for lower, upper in pairwise(knots))
    actual = laplace_kl(*(torch.tensor(value, dtype=torch.float64) for value in case))
    assert actual.item() == pytest.approx(expected, abs=1e-9)


def test_no_digits_are_lost_near_agreement() -> None:
    """In float32 the textbook form gives noise of either sign here."""
    mean, scale = torch.rand(1000), torch.rand(1000) + 0.1
    moved, wider = mean + 1e-3 * torch.rand(1000), scale * (1 + 1e-3 * torch.rand(1000))
    exact = kl_divergence(Laplace(mean.double(), scale.double()), Laplace(moved.double(), wider.double()))
    actual = laplace_kl(moved, wider, mean, scale)
    assert (actual > -1e-9).all()
    torch.testing.assert_close(actual.double(), exact, rtol=1e-2, atol=1.5e-7)


@pytest.mark.parametrize('tiny', [0.0, 1e-30, 1e-8])
def test_tiny_scales(tiny: float) -> None:
    for student_scale, teacher_scale in ((tiny, 0.1), (0.1, tiny), (tiny, tiny)):
        mean, scale = torch.tensor([0.2], requires_grad=True), torch.tensor([student_scale], requires_grad=True)
        actual = laplace_kl(mean, scale, torch.tensor([0.9]), torch.tensor([teacher_scale]))
        actual.sum().backward()
        assert actual.isfinite().all() and actual > 0
        assert mean.grad is not None and mean.grad.isfinite().all() and mean.grad < 0
        assert scale.grad is not None and scale.grad.isfinite().all()


def test_teacher_gets_no_gradient() -> None:
    values = [torch.rand(3, requires_grad=True) for _ in range(4)]
    laplace_kl(*values).sum().backward()
    assert all(value.grad is not None for value in values[:2]) and all(value.grad is None for value in values[2:])


def test_weights_and_module() -> None:
    student, teacher, weight = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.tensor([[1.0, 0.0, 0.5]] * 2)
    module = MODELS.build({'type': 'kd_plugins.LaplaceKLLoss'})
    assert isinstance(module, LaplaceKLLoss)
    actual = module(split(student), split(teacher), weight)
    values = laplace_kl(*split(student), *split(teacher)).sum(dim=-1)
    torch.testing.assert_close(actual, (values * weight).mean())
    assert laplace_kl_loss(split(student), split(teacher), torch.zeros(2, 3)) == 0
