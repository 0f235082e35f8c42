"""Losses of predictions at the same queries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.losses import (
    dense_box_loss,
    fine_grained_localization,
    query_edge_loss,
    query_kl_loss,
    query_l1_loss,
    query_softmax_loss,
)
from kd_plugins.ops.boxes import to_corners
from kd_plugins.ops.reduction import to_float
from tests.losses.tester import LossTester


def weights(x: Tensor) -> Tensor:
    """Weights from 0 to 2.5 of each six queries, on the device of the input."""
    return torch.arange(len(x), device=x.device).remainder(6) / 2


def test_golden_values() -> None:
    """The released terms of KD-DETR: class, L1 and GIoU, and the sum of the weights."""
    numbers = torch.arange(30.0)
    student, teacher = (0.37 * numbers).sin(), (0.53 * numbers + 0.2).cos()
    target = 3 * teacher.view(2, 3, 5)
    weight = target.sigmoid().amax(dim=-1)
    boxes = [0.3 + 0.2 * x[:24].view(2, 3, 4).abs() for x in (student, teacher)]
    values = [
        query_kl_loss(3 * student.view(2, 3, 5), target, weight),
        query_l1_loss(*boxes, weight),
        dense_box_loss(*map(to_corners, boxes), weight),
        weight.sum(),
    ]
    expected = torch.tensor([1.741536, 0.074727, 0.573900, 4.694998])
    torch.testing.assert_close(torch.stack(values), expected, rtol=0, atol=2e-6)


class TestQuerySoftmaxLoss(LossTester):
    shape = (6, 4)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return query_softmax_loss(student, teacher, weights(student))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        target = teacher.softmax(dim=1)
        divergence = (target * (target.log() - student.log_softmax(dim=1))).sum(dim=1)
        return (divergence * weights(student)).sum() / 7.5


class TestQueryL1Loss(LossTester):
    shape = (6, 4)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return query_l1_loss(student, teacher, weights(student))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return ((student - teacher).abs().sum(dim=1) / 4 * weights(student)).sum() / 7.5


class TestQueryKLLoss(LossTester):
    shape = (6, 4)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return query_kl_loss(student, teacher, weights(student))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        target = (teacher / 10).softmax(dim=1)
        divergence = (target * (target.log() - (student / 10).log_softmax(dim=1))).mean(dim=1)
        return 100 * (divergence * weights(student)).sum()

    def test_batch_duplication(self) -> None:
        """The released sum has no divisor."""
        student, teacher = self.inputs()
        twice = self.loss(torch.cat([student, student]), torch.cat([teacher, teacher]))
        torch.testing.assert_close(twice, 2 * self.loss(student, teacher))


@pytest.mark.parametrize('loss', [query_softmax_loss, query_l1_loss, query_kl_loss])
def test_no_weight_gives_zero_with_a_graph(loss) -> None:
    student = torch.rand(6, 4, requires_grad=True)
    value = loss(student, torch.rand(6, 4), torch.zeros(6))
    assert value == 0 and value.requires_grad


class TestQueryEdgeLoss(LossTester):
    shape = (6, 4, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return query_edge_loss(student, to_float(teacher).softmax(dim=-1), weights(student))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        target = teacher.softmax(dim=-1)
        divergence = (target * (target.log() - student.log_softmax(dim=-1))).sum(dim=-1).mean(dim=-1)
        return (divergence * weights(student)).sum() / 7.5


def test_edges_of_a_certain_target_have_the_loss_of_fgl() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([[0, 1, 2, 3]] * 3)
    target = torch.nn.functional.one_hot(index, 5).float()
    expected = fine_grained_localization(logits, index, torch.zeros(3, 4)).mean()
    torch.testing.assert_close(query_edge_loss(logits, target, torch.ones(3)), expected)
