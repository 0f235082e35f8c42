from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers.focal_global.map_sums import map_sums, strength_sums

INSIDE = (torch.arange(6) < torch.tensor([[4], [6]])).expand(2, 6)


def maps() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    options = {'generator': generator, 'dtype': torch.float64}
    return torch.randn(2, 3, 6, **options), torch.randn(2, 3, 6, **options), torch.rand(2, 3, **options)


@pytest.mark.parametrize('inside', [None, INSIDE], ids=['whole', 'padded'])
@pytest.mark.parametrize('chunk', [1, 12, None])
def test_are_the_sums(inside: Tensor | None, chunk: int | None) -> None:
    student, teacher, channel = maps()
    counted = torch.ones(2, 6) if inside is None else inside.double()
    gap = student - teacher
    expected = [
        student.abs().sum(1),
        (student.abs() * counted[:, None]).sum(2),
        (gap.square() * channel[:, :, None]).sum(1),
        gap.square().sum(1),
        (gap * counted[:, None]).sum(2),
    ]
    sums = map_sums(student, teacher, channel, inside, chunk)
    for one, other in zip(sums, expected):
        torch.testing.assert_close(one, other)
    for one, other in zip(strength_sums(student, inside, chunk), expected):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('inside', [None, INSIDE], ids=['whole', 'padded'])
@pytest.mark.parametrize('chunk', [12, None])
def test_gradients(inside: Tensor | None, chunk: int | None) -> None:
    student, teacher, channel = maps()
    assert torch.autograd.gradcheck(
        lambda x: tuple(map_sums(x, teacher, channel, inside, chunk)), (student.requires_grad_(),)
    )


def test_a_part_of_the_sums_may_be_used() -> None:
    student, teacher, channel = maps()
    map_sums(student.requires_grad_(), teacher, channel).plain.sum().backward()
    torch.testing.assert_close(student.grad, 2 * (student.detach() - teacher))


@pytest.mark.parametrize('shape', [(0, 3, 4), (2, 3, 0)], ids=str)
def test_nothing(shape: tuple[int, ...]) -> None:
    student = torch.zeros(shape, requires_grad=True)
    sums = map_sums(student, torch.zeros(shape), torch.zeros(shape[:2]))
    torch.stack([part.sum() for part in sums]).sum().backward()
    assert student.grad is not None and student.grad.shape == shape
