from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import dkd_loss, nkd_loss, others_by_rank, softmax_kl, uskd_loss, without_label
from tests.losses.golden import cosines, sines
from tests.losses.tester import LossTester, on_device_of
from tests.ranks import on_two_ranks

LABELS = torch.tensor([0, 3, 4, 1])


def rows(x: Tensor, label: int) -> Tensor:
    return torch.cat([x[:label], x[label + 1 :]])


class TestNKD(LossTester):
    shape = (4, 5)
    equal_is_zero = False  # the value is 0; the gradient pulls the score of the label up

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return nkd_loss(student, teacher, on_device_of(LABELS, student).repeat(2)[: len(student)], 2.0, 0.5, 1.5)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        values = []
        for s, t, label in zip(student, teacher, LABELS.tolist()):
            p, q = t.softmax(0)[label], s.softmax(0)[label]
            others = F.kl_div((rows(s, label) / 2).log_softmax(0), (rows(t, label) / 2).softmax(0), reduction='sum')
            values.append(0.5 * p * (p / q).log() + 1.5 * 4 * others)
        return torch.stack(values).mean()

    def test_value_where_equal(self) -> None:
        student, _ = self.inputs()
        assert self.loss(student, student) == 0


class TestDKD(LossTester):
    shape = (4, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return dkd_loss(student, teacher, on_device_of(LABELS, student).repeat(2)[: len(student)], 2.0, 0.5, 1.5)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        values = []
        for s, t, label in zip(student / 2, teacher / 2, LABELS.tolist()):
            p, q = t.softmax(0)[label], s.softmax(0)[label]
            target = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
            others = F.kl_div(rows(s, label).log_softmax(0), rows(t, label).softmax(0), reduction='sum')
            values.append(4 * (0.5 * target + 1.5 * others))
        return torch.stack(values).mean()


def _difference(teacher: Tensor, temperature: float, factor: float) -> Tensor:
    """Value of the cross entropies of the released NKD where the student is the teacher."""
    target = teacher.log_softmax(1).gather(1, LABELS[:, None])
    others = without_label(teacher, LABELS) / temperature
    entropy = -(others.softmax(1) * others.log_softmax(1)).sum(1).mean()
    return -(target.exp() * target).mean() + factor * temperature**2 * entropy


@pytest.mark.parametrize(('temperature', 'factor', 'value'), [(1.0, 1.5, 5.009671), (3.0, 3.5, 50.250420)])
def test_released_nkd(temperature: float, factor: float, value: float) -> None:
    """The released value is a cross entropy, ours a divergence: they differ by a number that the teacher decides."""
    student, teacher = 3 * sines(4, 5), 3 * cosines(4, 5)
    ours = nkd_loss(student, teacher, LABELS, temperature, others=factor)
    torch.testing.assert_close(
        ours + _difference(teacher, temperature, factor), torch.tensor(value), rtol=1e-6, atol=1e-5
    )


def test_dkd_with_the_teachers_share_is_the_divergence() -> None:
    """Section 3.1 of DKD: KL = target part + (1 - p) * part of the others."""
    student, teacher = (3 * x(1, 5).double() for x in (sines, cosines))
    label = torch.tensor([2])
    share = 1 - (teacher / 2).softmax(1)[0, 2].item()
    torch.testing.assert_close(dkd_loss(student, teacher, label, 2.0, 1.0, share), softmax_kl(student, teacher, 2.0)[0])


@pytest.mark.parametrize(
    ('factors', 'value'),
    [
        ((1.0, 0.1, 0.005), 3.241734),
        ((1.0, 0.0, 0.0), 3.083035),
        ((0.0, 1.0, 0.0), 1.441664),
        ((0.0, 0.0, 1.0), 2.906477),
    ],
    ids=['all', 'target', 'others', 'weak'],
)
def test_released_uskd(factors: tuple[float, float, float], value: float) -> None:
    weak = cosines(4, 6) @ sines(5, 6).T
    ours = uskd_loss(3 * sines(4, 5), weak, LABELS, *factors, rank_mode='logprob')
    torch.testing.assert_close(ours, torch.tensor(value), rtol=0, atol=1e-5)


def test_ranking() -> None:
    """The labelled class takes part in the ranking, with its own place."""
    student = torch.tensor([[0.0, 2.0, 1.0, 1.5]])
    weak = torch.tensor([[0.0, 0.1, 0.0, 5.0]])
    first = torch.tensor([1 / 4, 1 / 3, 1]) / (1 / 4 + 1 / 3 + 1)
    torch.testing.assert_close(others_by_rank(student, weak, torch.tensor([1]))[0], first)
    # With logarithms the student's own order counts for most: the label is first, and class 3 second.
    logs = others_by_rank(student, 0.1 * weak, torch.tensor([1]), 'logprob')[0]
    torch.testing.assert_close(logs, torch.tensor([1 / 4, 1 / 3, 1 / 2]) / (1 / 4 + 1 / 3 + 1 / 2))


def test_uskd_gradient() -> None:
    student, weak = torch.randn(2, 4, 5, dtype=torch.float64)
    student.requires_grad_()
    weak.requires_grad_()
    uskd_loss(student, weak, LABELS, weak_target=0.5).backward()
    s = student.detach().softmax(1)
    hot = F.one_hot(LABELS, 5)
    square = (s * hot).sum(1, keepdim=True).square()
    soft = 1 + square - square.mean()
    others = torch.zeros(4, 5, dtype=torch.float64)
    others[hot == 0] = others_by_rank(student.detach(), weak.detach(), LABELS).flatten()
    rest = student.detach().masked_fill(hot == 1, -torch.inf).softmax(1)
    torch.testing.assert_close(student.grad, (soft * (s - hot) + 0.1 * (rest - others)) / 4)
    smooth = 0.9 * hot + 0.1 / 5
    torch.testing.assert_close(weak.grad, 0.5 * (weak.detach().softmax(1) - smooth) / 4)


@pytest.mark.parametrize('loss', [nkd_loss, dkd_loss, uskd_loss])
def test_locations_without_a_label(loss) -> None:
    student, other = torch.randn(2, 2, 6, 5)
    labels = torch.randint(0, 5, (2, 6))
    labels[0, 1], labels[1, 2], labels[1, 3] = -1, 255, 5
    student.requires_grad_()
    actual = loss(student, other, labels)
    actual.backward()
    counted = (labels >= 0) & (labels < 5)
    torch.testing.assert_close(actual, loss(student[counted], other[counted], labels[counted]))
    assert torch.equal(student.grad.abs().sum(-1) > 0, counted)
    student.grad = None
    nothing = loss(student, other, torch.full_like(labels, 255))
    nothing.backward()
    assert nothing == 0 and student.grad.abs().sum() == 0
    assert loss(student[:0], other[:0], labels[:0]) == 0


@pytest.mark.parametrize('loss', [nkd_loss, dkd_loss, uskd_loss])
def test_autocast(loss) -> None:
    student, other = torch.randn(2, 4, 5)
    with torch.autocast('cpu', torch.bfloat16):
        actual = loss(student, other, LABELS)
    torch.testing.assert_close(actual, loss(student, other, LABELS))
    far = loss(1e4 * student.sign().half(), -1e4 * student.sign().half(), LABELS)
    assert far.isfinite() and far.dtype == torch.float32


def _gradients(parts: list[slice]) -> list[Tensor]:
    part = parts[dist.get_rank()] if dist.is_initialized() else slice(None)
    labels = torch.tensor([[0, 3, 255], [-1, 1, 4], [2, 2, 2], [4, 0, 1]])[part]
    gradients = []
    for loss in (nkd_loss, dkd_loss, uskd_loss):
        student, other = (3 * x(4, 3, 5)[part] for x in (sines, cosines))
        student.requires_grad_()
        other.requires_grad_()
        value = loss(student, other, labels)
        gradients += [g for g in torch.autograd.grad(value, [student, other], allow_unused=True) if g is not None]
    return gradients


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    parts = [slice(0, 1), slice(1, 4)]
    ranks = on_two_ranks(tmp_path, _gradients, parts)
    for first, second, whole in zip(*ranks, _gradients(parts), strict=True):
        torch.testing.assert_close(torch.cat([first, second]) / 2, whole)
