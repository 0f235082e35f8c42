"""Relations between tokens, against golden values and against torch's attention."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.losses import context_loss, token_relation_loss
from tests.losses.golden import cosines, sines
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks

EVERY = ['query-query', 'key-key', 'value-value', 'query-key']


def joined(x: Tensor) -> Tensor:
    """Tokens (N, L, 3 * C) whose queries, keys and values are the same vectors (N, heads, L, d)."""
    return x.transpose(1, 2).flatten(2).repeat(1, 1, 3)


def attention(first: Tensor, second: Tensor, heads: int) -> Tensor:
    """The probabilities of torch's attention, read out by values that are an identity: shape (N, heads, L, L)."""
    a, b = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (first, second))
    identity = torch.eye(a.shape[2], dtype=a.dtype).expand(*a.shape[:2], -1, -1)
    return F.scaled_dot_product_attention(a, b, identity)


class TestTokenRelations(LossTester):
    shape = (2, 5, 12)
    heads = 2
    relations = ['query-query', 'key-key', 'value-value']

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return token_relation_loss(student, teacher, self.heads, self.relations)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        parts = dict(zip(('query', 'key', 'value'), zip(student.chunk(3, dim=2), teacher.chunk(3, dim=2))))
        total = torch.zeros((), dtype=student.dtype)
        for name in self.relations:
            (s, t), (s_second, t_second) = (parts[part] for part in name.split('-'))
            q, p = attention(s, s_second, self.heads), attention(t, t_second, self.heads)
            total = total + F.kl_div(q.log(), p, reduction='sum') / q[..., 0].numel()
        return total


class TestFirstVersion(TestTokenRelations):
    relations = ['query-key', 'value-value']


class TestContext(LossTester):
    shape = (2, 3, 4, 2)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return context_loss(student, teacher)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        tokens = (x.flatten(2).transpose(1, 2) for x in (student, teacher))
        return F.mse_loss(*(attention(x, x, 1) for x in tokens))


@pytest.mark.parametrize(
    ('student', 'heads', 'expected'), [((1, 2, 3, 4), 2, 0.247047), ((1, 4, 3, 2), 1, 0.326292)], ids=['v1', 'v2']
)
def test_golden_values(student: tuple[int, ...], heads: int, expected: float) -> None:
    value = token_relation_loss(joined(sines(*student)), joined(cosines(1, 2, 3, 4)), heads, ['value-value'])
    torch.testing.assert_close(value, torch.tensor(expected), rtol=0, atol=1e-6)


def test_golden_value_of_the_context() -> None:
    value = context_loss(sines(2, 5, 4).transpose(1, 2), cosines(2, 5, 4).transpose(1, 2))
    torch.testing.assert_close(value, torch.tensor(0.022339), rtol=0, atol=1e-6)


def test_other_widths() -> None:
    """Channels of zeros change the scale alone."""
    student, teacher = torch.randn(2, 2, 5, 12, dtype=torch.float64)
    wide = F.pad(teacher.unflatten(2, (6, 2)), (0, 6)).flatten(2)
    expected = token_relation_loss(student, teacher, 2, EVERY)
    torch.testing.assert_close(token_relation_loss(student, wide * 2**0.5, 2, EVERY), expected)


@pytest.mark.parametrize('chunk', [1, 60, 2**20])
def test_chunks_change_nothing(chunk: int) -> None:
    student, teacher = torch.randn(2, 2, 6, 12, dtype=torch.float64)
    student.requires_grad_()
    for function in (
        lambda size: token_relation_loss(student, teacher, 2, EVERY, chunk=size),
        lambda size: context_loss(student, teacher, chunk=size),
    ):
        losses = [function(size) for size in (chunk, 2**24)]
        torch.testing.assert_close(*losses)
        torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in losses))


def test_padding_counts_for_nothing() -> None:
    student, teacher = torch.randn(2, 2, 6, 12)
    padded = [torch.cat([x, 1e4 * torch.randn(2, 3, 12)], dim=1).requires_grad_() for x in (student, teacher)]
    valid = (torch.arange(9) < 6).expand(2, 9)
    actual = token_relation_loss(*padded, 2, EVERY, valid)
    torch.testing.assert_close(actual, token_relation_loss(student, teacher, 2, EVERY))
    maps = [x.transpose(1, 2) for x in padded]
    inner = context_loss(*maps, valid)
    torch.testing.assert_close(inner, context_loss(student.transpose(1, 2), teacher.transpose(1, 2)))
    for value in (actual, inner):
        (gradient,) = torch.autograd.grad(value, padded[0], retain_graph=True)
        assert gradient[:, 6:].abs().sum() == 0 and gradient[:, :6].abs().sum() > 0
    for nothing in (
        token_relation_loss(*padded, 2, EVERY, torch.zeros_like(valid)),
        context_loss(*maps, torch.zeros_like(valid)),
    ):
        (gradient,) = torch.autograd.grad(nothing, padded[0], retain_graph=True)
        assert nothing == 0 and gradient.isfinite().all()


def test_unknown_relation() -> None:
    with pytest.raises(ConfigError, match="relations is 'value-values'; nearest: 'value-value'"):
        token_relation_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), relations=['value-values'])


def _step(kind: str) -> tuple[Tensor, Tensor]:
    rank = dist.get_rank() if dist.is_initialized() else None
    part = slice(None) if rank is None else [slice(0, 1), slice(1, 4)][rank]
    student, teacher = (x(4, 6, 12)[part] for x in (sines, cosines))
    valid = (torch.arange(6) < torch.tensor([2, 6, 5, 3])[:, None])[part]
    student.requires_grad_()
    if kind == 'context':
        loss = context_loss(student.transpose(1, 2), teacher.transpose(1, 2), valid)
    else:
        loss = token_relation_loss(student, teacher, 2, EVERY, valid)
    return loss.detach(), torch.autograd.grad(loss, student)[0]


@pytest.mark.distributed
@pytest.mark.parametrize('kind', ['context', 'attention'])
def test_two_ranks_equal_one_process(tmp_path: Path, kind: str) -> None:
    ranks = on_two_ranks(tmp_path, _step, kind)
    value, gradient = _step(kind)
    torch.testing.assert_close(sum(rank[0] for rank in ranks) / 2, value)
    torch.testing.assert_close(torch.cat([rank[1] for rank in ranks]) / 2, gradient)
