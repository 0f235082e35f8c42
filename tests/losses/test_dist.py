from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.losses import DISTLoss, dist_loss, inter_class_distance, intra_class_distance
from kd_plugins.registry import MODELS
from tests.losses.golden import cosines, sines
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks

GOLDEN = [({}, 2.432070), ({'intra': 0.0}, 1.264568), ({'temperature': 2.0}, 9.950675)]


class TestDIST(LossTester):
    shape = (6, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return dist_loss(student, teacher, temperature=2.0, inter=0.5, intra=2.0)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        s, t = ((x / 2).softmax(1).numpy() for x in (student, teacher))
        rows = [1 - np.corrcoef(a, b)[0, 1] for a, b in zip(s, t)]
        columns = [1 - np.corrcoef(a, b)[0, 1] for a, b in zip(s.T, t.T)]
        return torch.tensor(4 * (0.5 * np.mean(rows) + 2 * np.mean(columns)))


class TestSigmoid(TestDIST):
    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return dist_loss(student, teacher, softmax=False)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        s, t = (x.sigmoid().numpy() for x in (student, teacher))
        rows = [1 - np.corrcoef(a, b)[0, 1] for a, b in zip(s, t)]
        columns = [1 - np.corrcoef(a, b)[0, 1] for a, b in zip(s.T, t.T)]
        return torch.tensor(np.mean(rows) + np.mean(columns))


@pytest.mark.parametrize(('options', 'value'), GOLDEN, ids=str)
def test_released_values(options: dict[str, float], value: float) -> None:
    """Values of the released function for 2-D logits."""
    torch.testing.assert_close(
        dist_loss(3 * sines(6, 5), 3 * cosines(6, 5), **options), torch.tensor(value), rtol=0, atol=1e-5
    )


def test_released_value_of_maps() -> None:
    s, t = (3 * x(2, 4, 2, 3).movedim(1, -1) for x in (sines, cosines))
    torch.testing.assert_close(dist_loss(s, t), torch.tensor(2.262558), rtol=0, atol=1e-5)


def test_correlations_do_not_change_with_scale_and_offset() -> None:
    s, t = torch.rand(2, 7, 4, dtype=torch.float64)
    scale, offset = torch.rand(7, 1, dtype=torch.float64) + 0.5, torch.rand(7, 1, dtype=torch.float64)
    torch.testing.assert_close(inter_class_distance(scale * s + offset, t), inter_class_distance(s, t))
    everywhere = torch.ones(7, dtype=torch.bool)
    changed = intra_class_distance(s, t * scale[0] + offset[0], everywhere)
    torch.testing.assert_close(changed, intra_class_distance(s, t, everywhere))


def test_rare_class_in_many_locations() -> None:
    """Scores near 0 of a rare class are correlated as exactly as those of a frequent one."""
    logits = torch.randn(2, 4096, 3, generator=torch.Generator().manual_seed(0))
    logits[..., 2] -= 12.0
    expected = dist_loss(*logits.double())
    torch.testing.assert_close(dist_loss(*logits).double(), expected, rtol=1e-4, atol=1e-5)


def test_locations_that_do_not_count() -> None:
    student, teacher = torch.randn(2, 2, 8, 4)
    valid = torch.rand(2, 8) > 0.4
    student.requires_grad_()
    actual = dist_loss(student, teacher, valid)
    torch.testing.assert_close(actual, dist_loss(student[valid], teacher[valid]))
    actual.backward()
    assert torch.equal(student.grad.abs().sum(-1) > 0, valid)
    nothing = dist_loss(student, teacher, torch.zeros_like(valid))
    student.grad = None
    nothing.backward()
    assert nothing == 0 and student.grad.abs().sum() == 0


def test_constant_scores_of_the_teacher() -> None:
    """A class that the teacher never sees, and a location where it cannot decide, teach nothing."""
    student = torch.randn(5, 3, requires_grad=True)
    assert dist_loss(student, torch.zeros(5, 3)) == 0
    scores = torch.rand(5, 3)
    scores[:, 1] = 0.25
    distance = intra_class_distance(student.softmax(1), scores, torch.ones(5, dtype=torch.bool))
    assert (distance == 0).tolist() == [False, True, False]


def test_constant_scores_of_the_student() -> None:
    """They give 1, and no gradient that grows without bound."""
    student = torch.zeros(5, 3, requires_grad=True)
    loss = dist_loss(student, torch.randn(5, 3), intra=0.0)
    loss.backward()
    assert loss == 1 and student.grad.abs().sum() == 0


@pytest.mark.parametrize('size', [(3000, 5), (40000, 3), (2, 1203)], ids=str)
def test_constant_scores_in_large_numbers(size: tuple[int, int]) -> None:
    """The mean of many equal scores is rounded; the difference from it is no correlation."""
    generator = torch.Generator().manual_seed(0)
    student, same = torch.full(size, 0.3, requires_grad=True), torch.full(size, 0.3)
    other = torch.rand(size, generator=generator)
    everywhere = torch.ones(size[0], dtype=torch.bool)
    for distance in (
        lambda s, t: intra_class_distance(s, t, everywhere),
        inter_class_distance,
    ):
        value = distance(student, other)
        (gradient,) = torch.autograd.grad(value.sum(), student)
        assert bool((value == 1).all()) and gradient.abs().sum() == 0
        assert bool((distance(other, same) == 0).all())


def test_many_locations_are_as_exact_as_few() -> None:
    """A class with a small spread about a large mean, in as many locations as a batch of maps has."""
    scores = 0.9 + 1e-3 * torch.randn(2, 60000, 2, generator=torch.Generator().manual_seed(0))
    everywhere = torch.ones(60000, dtype=torch.bool)
    exact = intra_class_distance(*scores.double(), everywhere)
    torch.testing.assert_close(intra_class_distance(*scores, everywhere).double(), exact, rtol=0, atol=1e-5)


def test_module() -> None:
    loss = MODELS.build({'type': 'kd_plugins.DISTLoss', 'intra': 0.5, 'temperature': 2.0})
    assert isinstance(loss, DISTLoss)
    student, teacher = torch.randn(2, 6, 4)
    assert loss(student, teacher) == dist_loss(student, teacher, None, 2.0, 1.0, 0.5)


def _gradient(parts: list[slice]) -> tuple[Tensor, Tensor]:
    part = parts[dist.get_rank()] if dist.is_initialized() else slice(None)
    student, teacher = (3 * x(4, 6, 5)[part] for x in (sines, cosines))
    student.requires_grad_()
    valid = (torch.arange(24).view(4, 6) % 5 > 0)[part]
    loss = dist_loss(student, teacher, valid)
    return loss.detach(), torch.autograd.grad(loss, student)[0]


@pytest.mark.distributed
@pytest.mark.parametrize('split', [1, 0])
def test_two_ranks_equal_one_process(tmp_path: Path, split: int) -> None:
    parts = [slice(0, split), slice(split, 4)]
    ranks = on_two_ranks(tmp_path, _gradient, parts)
    value, gradient = _gradient(parts)
    torch.testing.assert_close(sum(rank[0] for rank in ranks) / 2, value)
    torch.testing.assert_close(torch.cat([rank[1] for rank in ranks]) / 2, gradient)
