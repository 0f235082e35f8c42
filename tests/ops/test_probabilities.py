from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kd_plugins.ops.probabilities import agreement, jensen_shannon, joint_logits, majority_vote, mean_logits


def logits(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize('exponent', [1.0, 0.5])
def test_joint_probability(exponent: float) -> None:
    a, b = logits(4, 5, 3), logits(4, 5, 1, seed=1)
    expected = (a.sigmoid() * b.sigmoid()) ** exponent
    torch.testing.assert_close(joint_logits(a, b, exponent).sigmoid(), expected)
    inputs = (a.requires_grad_(), b.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, y: joint_logits(x, y, exponent), inputs, fast_mode=True)


def test_joint_probability_of_rtmdet() -> None:
    utils = pytest.importorskip('mmdet.models.utils')
    a, b = logits(4, 3), logits(4, 1, seed=1)
    torch.testing.assert_close(joint_logits(a, b, 0.5).sigmoid(), utils.sigmoid_geometric_mean(a, b))


@pytest.mark.parametrize('exponent', [1.0, 0.5])
def test_extreme_joint_logits_are_finite(exponent: float) -> None:
    for size in (1e4, 100.0, 0.0):
        for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            a, b = (torch.tensor([[sign * size]], requires_grad=True) for sign in signs)
            value = joint_logits(a, b, exponent)
            value.backward()
            assert value.isfinite().all() and a.grad.isfinite().all() and b.grad.isfinite().all()
            # A missing object, or class, decides: the joint logit is at most the smaller of both.
            assert exponent != 1.0 or value <= min(a, b)


def test_mean_of_probabilities() -> None:
    a, b = logits(4, 5), logits(4, 5, seed=1)
    torch.testing.assert_close(mean_logits([a, b], softmax=False).sigmoid(), (a.sigmoid() + b.sigmoid()) / 2)
    for temperature in (1.0, 4.0):
        expected = ((a / temperature).softmax(-1) + (b / temperature).softmax(-1)) / 2
        mean = mean_logits([a, b], True, temperature)
        torch.testing.assert_close((mean / temperature).softmax(-1), expected)


@pytest.mark.parametrize('softmax', [False, True])
def test_mean_of_equal_predictions_is_the_prediction(softmax: bool) -> None:
    a = logits(4, 5).float()
    mean = mean_logits([a, a], softmax)
    torch.testing.assert_close(mean, a.log_softmax(-1) if softmax else a)
    for size in (200.0, 1e4):
        assert mean_logits([a * size, -a * size], softmax).isfinite().all()


def test_mean_of_three() -> None:
    members = [logits(4, 5, seed=seed) for seed in range(3)]
    torch.testing.assert_close(mean_logits(members, softmax=False).sigmoid(), sum(x.sigmoid() for x in members) / 3)
    mean = mean_logits(members, True, 2.0)
    torch.testing.assert_close((mean / 2).softmax(-1), sum((x / 2).softmax(-1) for x in members) / 3)
    assert jensen_shannon(members, softmax=True).max() <= math.log(3)


def test_votes_of_a_majority() -> None:
    """The class that most choose wins, also where the mean prefers another; the mean decides a tie."""
    sure, unsure, third = torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 2.0]])
    share = majority_vote([sure, unsure, unsure])
    assert share.argmax() == 1 and mean_logits([sure, unsure, unsure], softmax=True).argmax() == 0
    mean = (sure.softmax(-1) + 2 * unsure.softmax(-1)) / 3
    torch.testing.assert_close(share, (torch.tensor([1.0, 2.0, 0.0]) + mean) / 4)
    assert majority_vote([sure, unsure, third]).argmax() == 0
    torch.testing.assert_close(
        majority_vote([logits(4, 5, seed=seed) for seed in range(5)]).sum(-1).float(), torch.ones(4)
    )


def test_jensen_shannon_by_definition() -> None:
    a, b = logits(6, 4), logits(6, 4, seed=1)

    def by_definition(p: Tensor, q: Tensor) -> Tensor:
        m = (p + q) / 2
        return ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)) / 2

    expected = by_definition(a.softmax(-1), b.softmax(-1))
    torch.testing.assert_close(jensen_shannon([a, b], softmax=True), expected)
    classes = [
        by_definition(*(torch.stack([x[:, c].sigmoid(), 1 - x[:, c].sigmoid()], dim=-1) for x in (a, b)))
        for c in range(4)
    ]
    torch.testing.assert_close(jensen_shannon([a, b], softmax=False), torch.stack(classes).amax(dim=0))


@pytest.mark.parametrize(('first', 'second', 'weight'), [(0.9, 0.9, 1.0), (0.9, 0.5, 0.36), (0.9, 0.1, 0.03)])
def test_agreement(first: float, second: float, weight: float) -> None:
    """The numbers of the documentation, and no gradient."""
    a, b = (torch.tensor([[p]]).logit().requires_grad_() for p in (first, second))
    value = agreement([a, b], softmax=False, tau=0.1)
    assert value.item() == pytest.approx(weight, abs=0.006) and not value.requires_grad


@pytest.mark.parametrize('softmax', [False, True])
def test_bounds_of_jensen_shannon(softmax: bool) -> None:
    a, b = logits(8, 3).float() * 1e3, logits(8, 3, seed=1).float() * 1e3
    divergence = jensen_shannon([a, b], softmax)
    assert (divergence >= 0).all() and (divergence <= math.log(2) + 1e-6).all()
    assert torch.equal(jensen_shannon([a, a], softmax), torch.zeros(8))
    torch.testing.assert_close(divergence, jensen_shannon([b, a], softmax))
