"""Comparison of softmax distributions over pairs, against the definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.ops.pair_softmax import Comparison, divergence, pair_loss, squares

COMPARISONS = [divergence, squares]


def inputs(blocks: int, dtype: torch.dtype = torch.float64) -> tuple[tuple[Tensor, Tensor], ...]:
    """Vectors of the rows of three groups and of the columns of two, for student and teacher."""
    generator = torch.Generator().manual_seed(1)
    pairs = []
    for channels in (4, 2):
        rows = torch.randn(3, channels, 7, generator=generator, dtype=dtype)
        pairs.append((rows, torch.randn(blocks, 2, channels, 5, generator=generator, dtype=dtype)))
    return tuple(pairs)


def by_definition(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], valid: Tensor, weight: Tensor, compare: Comparison
) -> Tensor:
    q, p = (
        torch.einsum('ncp,nmcq->nmpq', rows, columns.expand(len(rows), -1, -1, -1))
        .masked_fill(~valid[:, :, None], float('-inf'))
        .softmax(dim=-1)
        for rows, columns in (student, teacher)
    )
    if compare is squares:
        values = (q - p).square().sum(dim=-1)
    else:
        shown = valid[:, :, None].expand_as(p)
        values = torch.where(shown, p * (p / torch.where(shown, q, 1.0)).log().nan_to_num(), 0.0).sum(dim=-1)
    return (values * weight[:, None]).sum()


@pytest.mark.parametrize('compare', COMPARISONS)
@pytest.mark.parametrize('blocks', [1, 3])
@pytest.mark.parametrize('chunk', [1, 100, None])
def test_value_and_gradient(compare: Comparison, blocks: int, chunk: int | None) -> None:
    student, teacher = inputs(blocks)
    valid = torch.rand(blocks, 2, 5, generator=torch.Generator().manual_seed(2)) < 0.7
    valid[..., 0] = True
    weight = torch.linspace(0, 1, 21, dtype=torch.float64).view(3, 7)
    leaves = [x.requires_grad_() for x in student]
    actual = pair_loss(student, teacher, valid, weight, compare, chunk)
    expected = by_definition(student, teacher, valid, weight, compare)
    torch.testing.assert_close(actual, expected)
    grads, wanted = (torch.autograd.grad(value, leaves) for value in (actual, expected))
    torch.testing.assert_close(grads, wanted)
    assert (grads[1].movedim(2, -1)[~valid] == 0).all(), 'a hidden column has no gradient'


@pytest.mark.parametrize('compare', COMPARISONS)
def test_within_autocast_and_with_half_of_the_gradient(compare: Comparison) -> None:
    student, teacher = inputs(1, torch.float32)
    valid, weight = torch.ones(1, 2, 5, dtype=torch.bool), torch.ones(3, 7)
    expected = pair_loss(student, teacher, valid, weight, compare)
    student[0].requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        actual = pair_loss(student, teacher, valid, weight, compare)
    assert torch.equal(actual, expected)
    (whole,) = torch.autograd.grad(actual, student[0], retain_graph=True)
    (half,) = torch.autograd.grad(actual * 0.5, student[0])
    torch.testing.assert_close(half, whole / 2)


@pytest.mark.parametrize('compare', COMPARISONS)
def test_nothing_to_compare(compare: Comparison) -> None:
    rows, columns = torch.zeros(0, 4, 7, requires_grad=True), torch.zeros(0, 1, 4, 7)
    value = pair_loss((rows, columns), (rows, columns), torch.ones(0, 1, 7) > 0, torch.zeros(0, 7), compare)
    value.backward()
    assert value == 0 and rows.grad is not None
