"""Divergences of levels against the released code, and learned weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import LevelKLLoss, level_kl, level_kl_sums, softmax_kl, uncertainty_weighted
from kd_plugins.registry import MODELS
from tests.losses.released_levels import RELEASED, released_map
from tests.losses.tester import LossTester

T = 3.0


class TestLevelKL(LossTester):
    """The student is two levels at once."""

    shape = (2, 4, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return LevelKLLoss(T)(torch.stack([student, 0.5 * student + 0.5 * teacher.detach()]), teacher)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        p, total = (teacher / T).softmax(1), torch.zeros(())
        for level in (student, (student + teacher) / 2):
            q = (level / T).softmax(1)
            total = total + T**2 * (p * (p / q).log()).sum() / (p.shape[0] * p.shape[2])
        return total


@pytest.mark.parametrize(('branch', 'background'), RELEASED)
@pytest.mark.parametrize('detach', [True, False])
def test_is_the_released_definition(branch: str, background: bool, detach: bool) -> None:
    numbers = {'decoder': (1, 2, 3, 4), 'encoder': (5, 6, 7, 8)}[branch]
    *students, teacher = [released_map(number).requires_grad_() for number in numbers]
    actual = level_kl(torch.stack(students), teacher, None, T, background, detach).sum()
    assert float(actual.detach()) == pytest.approx(RELEASED[branch, background], rel=1e-12)
    actual.backward()
    assert (teacher.grad is None) == detach and all(level.grad is not None for level in students)


@pytest.mark.parametrize('detach', [True, False])
def test_gradients_are_those_of_kl_div(detach: bool) -> None:
    levels = [released_map(number).requires_grad_() for number in range(4)]
    *students, teacher = levels
    actual = torch.autograd.grad(
        level_kl(torch.stack(students), teacher, temperature=T, detach_teacher=detach).sum(), levels, allow_unused=True
    )
    target = (teacher.detach() if detach else teacher) / T
    pairs = [F.kl_div((s / T).log_softmax(1), target.softmax(1), reduction='none').sum(1).mean() for s in students]
    expected = torch.autograd.grad(T**2 * torch.stack(pairs).sum(), levels, allow_unused=True)
    assert (actual[-1] is None) == detach
    for value, released in zip(actual, expected):
        if released is not None:
            torch.testing.assert_close(value, released)


def test_softmax_kl_with_a_teacher_that_learns() -> None:
    student, teacher = (released_map(number).requires_grad_() for number in (0, 1))
    options = [dict(detach_teacher=detach) for detach in (True, False)]
    first, second = (softmax_kl(student, teacher, T, **option).sum() for option in options)
    assert first == second
    assert torch.autograd.grad(first, teacher, allow_unused=True) == (None,)
    assert torch.autograd.gradcheck(lambda t: softmax_kl(student.detach(), t, T, detach_teacher=False), teacher)


def test_weight() -> None:
    students, teacher = torch.stack([released_map(0), released_map(1)]), released_map(2)
    weight = torch.zeros(2, 2, 2, 2, dtype=torch.float64)
    weight[1, 0] = 0.5
    actual = level_kl(students, teacher, weight, T)
    torch.testing.assert_close(actual, level_kl(students[:, 1:, :, :1], teacher[1:, :, :1], None, T))
    assert not level_kl(students, teacher, torch.zeros_like(weight), T).any()
    sums = level_kl_sums(students, teacher, weight, T)
    torch.testing.assert_close(sums, 2 * actual)


def test_uncertainty() -> None:
    losses = torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)
    start = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(uncertainty_weighted(losses, start) - torch.tensor(1.5).double().log(), losses)
    log_variance = start.clone().detach().requires_grad_()
    optimizer = torch.optim.Adam([log_variance], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        actual = uncertainty_weighted(losses, log_variance)
        actual.sum().backward()
        optimizer.step()
    # However long it learns, no term falls below 0, and a larger loss has the larger uncertainty.
    assert (actual > 0).all() and log_variance[0] < log_variance[1] < log_variance[2]


def test_module() -> None:
    actual = MODELS.build({'type': 'kd_plugins.LevelKLLoss', 'temperature': 2.0, 'include_background': False})
    assert isinstance(actual, LevelKLLoss)
    students, teacher = torch.stack([released_map(0), released_map(1)]), released_map(2)
    assert actual(students, teacher) == level_kl(students, teacher, None, 2.0, False).sum()
