from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.losses import AffinityLoss, affinity_loss
from kd_plugins.registry import MODELS
from tests.losses.golden import cosines, sines
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks


def pair(student: Tensor, teacher: Tensor, first: int, second: int, temperature: float) -> Tensor:
    """One pair of images, written position by position."""
    values = []
    for i in range(student.shape[2]):
        q, p = (
            torch.stack([F.cosine_similarity(x[first, :, i], x[second, :, j], dim=0) for j in range(x.shape[2])])
            for x in (student, teacher)
        )
        values.append(F.kl_div((q / temperature).log_softmax(0), (p / temperature).softmax(0), reduction='sum'))
    return torch.stack(values).mean()


class TestImages(LossTester):
    shape = (2, 3, 4)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return affinity_loss(student, teacher, temperature=0.5)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return torch.stack([pair(student, teacher, n, n, 0.5) for n in range(2)]).mean()


class TestBatch(TestImages):
    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return affinity_loss(student, teacher, temperature=0.5, pairs='batch')

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return torch.stack([pair(student, teacher, n, m, 0.5) for n in range(2) for m in range(2)]).mean()


def test_released_value() -> None:
    value = affinity_loss(sines(2, 3, 2, 2), cosines(2, 3, 2, 2), pairs='batch')
    torch.testing.assert_close(value, torch.tensor(2.493488), rtol=0, atol=1e-5)


@pytest.mark.parametrize('pairs', ['image', 'batch'])
@pytest.mark.parametrize('chunk', [1, 50, 2**20])
def test_chunks_change_nothing(pairs: str, chunk: int) -> None:
    student, teacher = torch.randn(2, 3, 4, 5, 2, dtype=torch.float64)
    student.requires_grad_()
    losses = [affinity_loss(student, teacher, pairs=pairs, chunk=size) for size in (chunk, 2**24)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in losses))


def test_invariances() -> None:
    """Other channels, rotations and lengths of the vectors change nothing."""
    student, teacher = torch.randn(2, 2, 4, 9, dtype=torch.float64)
    expected = affinity_loss(student, teacher)
    torch.testing.assert_close(affinity_loss(student, F.pad(teacher, (0, 0, 0, 3))), expected)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    torch.testing.assert_close(affinity_loss(rotation @ student, teacher), expected)
    length = torch.rand(2, 1, 9, dtype=torch.float64) + 0.5
    torch.testing.assert_close(affinity_loss(student * length, teacher), expected)


@pytest.mark.parametrize('pairs', ['image', 'batch'])
def test_padding_counts_for_nothing(pairs: str) -> None:
    student, teacher = torch.randn(2, 2, 4, 9)
    padded = [torch.cat([x, torch.randn(2, 4, 5)], dim=2).requires_grad_() for x in (student, teacher)]
    valid = (torch.arange(14) < 9).expand(2, 14)
    actual = affinity_loss(*padded, valid, pairs=pairs)
    torch.testing.assert_close(actual, affinity_loss(student, teacher, pairs=pairs))
    actual.backward()
    assert padded[0].grad[..., 9:].abs().sum() == 0 and padded[0].grad[..., :9].abs().sum() > 0
    nothing = affinity_loss(*padded, torch.zeros_like(valid), pairs=pairs)
    nothing.backward()
    assert nothing == 0 and padded[0].grad.isfinite().all()


def test_positions_without_direction() -> None:
    """ReLU leaves vectors of zeros."""
    student, teacher = torch.randn(2, 2, 4, 9).relu()
    student[:, :, 3] = 0
    student.requires_grad_()
    affinity_loss(student, teacher).backward()
    assert student.grad.isfinite().all() and student.grad[:, :, 3].abs().sum() == 0


def test_module() -> None:
    loss = MODELS.build({'type': 'kd_plugins.AffinityLoss', 'temperature': 0.2, 'pairs': 'batch'})
    assert isinstance(loss, AffinityLoss)
    student, teacher = [torch.randn(2, 3, 2, 2)], [torch.randn(2, 5, 2, 2)]
    assert loss(student, teacher) == affinity_loss(student[0], teacher[0], temperature=0.2, pairs='batch')
    with pytest.raises(ConfigError, match="pairs is 'images'; nearest: 'image'"):
        AffinityLoss(pairs='images')


def _step(parts: list[slice], pairs: str) -> tuple[Tensor, Tensor]:
    rank = dist.get_rank() if dist.is_initialized() else None
    part = slice(None) if rank is None else parts[rank]
    student, teacher = (x(4, 3, 2, 3)[part] for x in (sines, cosines))
    valid = torch.ones(len(student), 2, 3, dtype=torch.bool)
    if rank == 0:
        # The images of the ranks may be padded to different sizes.
        student, teacher, valid = (F.pad(x, (0, 1)) for x in (student, teacher, valid))
    student.requires_grad_()
    loss = affinity_loss(student, teacher, valid, pairs=pairs)
    return loss.detach(), torch.autograd.grad(loss, student)[0][..., :3]


@pytest.mark.distributed
@pytest.mark.parametrize(('pairs', 'split'), [('image', 1), ('batch', 1), ('batch', 0)])
def test_two_ranks_equal_one_process(tmp_path: Path, pairs: str, split: int) -> None:
    parts = [slice(0, split), slice(split, 4)]
    ranks = on_two_ranks(tmp_path, _step, parts, pairs)
    value, gradient = _step(parts, pairs)
    torch.testing.assert_close(sum(rank[0] for rank in ranks) / 2, value)
    torch.testing.assert_close(torch.cat([rank[1] for rank in ranks]) / 2, gradient)
