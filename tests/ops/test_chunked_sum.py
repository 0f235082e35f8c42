"""Sums over rows: values and gradients of the whole, recomputed once, from parts that exist one at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.ops.chunked_sum import ReadRows, sum_over_rows


class Sums:
    """Of two maps, the second at half the rows of the first, and a parameter."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.fine, self.coarse, self.scale, self.constant = (
            torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
            for shape in ((2, 3, 8, 4), (2, 3, 4, 4), (3, 1, 1), (2, 3, 8, 4))
        )
        self.constant.requires_grad_(False)
        self.calls: list[tuple[int, int]] = []

    def part(self, start: int, stop: int, read: ReadRows) -> tuple[Tensor, ...]:
        self.calls.append((start, stop))
        low, high = start // 2, (stop + 1) // 2
        coarse = read(1, low, high).repeat_interleave(2, dim=2)[:, :, start - 2 * low : stop - 2 * low]
        rows = (self.scale * read(0, start, stop)).exp() * coarse * read(2, start, stop)
        return rows.sum(), rows.square().sum(dim=(0, 2, 3)), torch.tensor(float(stop - start))

    def run(self, step: int) -> tuple[Tensor, ...]:
        maps = {0: self.fine, 1: self.coarse, 2: self.constant}
        return sum_over_rows(self.part, 8, step, maps, [self.scale])

    @property
    def leaves(self) -> list[Tensor]:
        return [self.fine, self.coarse, self.scale]


@pytest.mark.parametrize('step', [1, 2, 3, 7, 8, 9])
def test_values_and_gradients(step: int) -> None:
    sums = Sums()
    actual, whole = sums.run(step), sums.run(8)
    torch.testing.assert_close(actual, whole)
    assert float(actual[2].detach()) == 8
    ranges = [(start, min(start + step, 8)) for start in range(0, 8, step)]
    assert sums.calls == [*ranges, (0, 8)]
    sums.calls.clear()
    expected = torch.autograd.grad(whole[0] + whole[1][1] ** 2, sums.leaves)
    for retain in (True, False):
        total = actual[0] + actual[1][1] ** 2
        torch.testing.assert_close(torch.autograd.grad(total, sums.leaves, retain_graph=retain), expected)
    # Once for each backward pass, unless there is one range, of which everything is kept.
    assert sums.calls == (2 * ranges if step < 8 else [])
    assert sums.constant.grad is None


def test_gradient_of_some() -> None:
    sums = Sums()
    sums.coarse.requires_grad_(False)
    actual = sums.run(3)
    (gradient,) = torch.autograd.grad(actual[1].sum(), sums.fine)
    (expected,) = torch.autograd.grad(sums.run(8)[1].sum(), sums.fine)
    torch.testing.assert_close(gradient, expected)


def test_gradcheck() -> None:
    sums = Sums()

    def total(fine: Tensor, coarse: Tensor, scale: Tensor) -> Tensor:
        sums.fine, sums.coarse, sums.scale = fine, coarse, scale
        return sums.run(3)[0]

    assert torch.autograd.gradcheck(total, tuple(sums.leaves))


def test_without_gradient() -> None:
    sums = Sums()
    with torch.no_grad():
        assert not any(value.requires_grad for value in sums.run(3))


def test_autocast_around_the_backward_pass_changes_nothing() -> None:
    sums = Sums()
    for name in ('fine', 'coarse', 'scale', 'constant'):
        setattr(sums, name, getattr(sums, name).detach().float().requires_grad_(name != 'constant'))

    def part(start: int, stop: int, read: ReadRows) -> tuple[Tensor, ...]:
        return (torch.matmul(read(0, start, stop), read(2, start, stop).transpose(2, 3)).square().sum(),)

    maps = {0: sums.fine, 2: sums.constant}
    (expected,) = torch.autograd.grad(sum_over_rows(part, 8, 2, maps)[0], sums.fine)
    (total,) = sum_over_rows(part, 8, 2, maps)
    with torch.autocast('cpu', torch.bfloat16):
        (actual,) = torch.autograd.grad(total, sums.fine)
    assert actual.equal(expected)
