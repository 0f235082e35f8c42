"""Distance of parameters from anchors: values by hand, gradients, dtypes."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_plugins.losses import anchor_penalty, relative_drift
from tests.losses.tester import LossTester, on_device_of

INFORMATION = torch.rand(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class TestAnchorPenalty(LossTester):
    shape = (5, 3)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        information = on_device_of(INFORMATION, student)[: len(student)]
        return anchor_penalty(
            [student], [teacher], [information.float() if student.dtype != torch.float64 else information]
        )

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (INFORMATION * (student - teacher) ** 2).sum()

    def test_batch_duplication(self) -> None:
        student, teacher = self.inputs()
        once = anchor_penalty([student], [teacher])
        torch.testing.assert_close(anchor_penalty([student, student], [teacher, teacher]), 2 * once)


def test_gradient_is_twice_the_distance() -> None:
    theta = [torch.randn(3, 2, requires_grad=True), torch.randn(4, requires_grad=True)]
    start = [torch.randn(3, 2), torch.randn(4)]
    weight = 0.7
    (weight * anchor_penalty(theta, start)).backward()
    for one, anchor in zip(theta, start):
        torch.testing.assert_close(one.grad, 2 * weight * (one.detach() - anchor))


def test_nothing_is_zero() -> None:
    assert anchor_penalty([], []) == 0
    assert relative_drift([torch.ones(2)], [torch.zeros(2)]).isfinite()
    assert relative_drift([torch.ones(2, requires_grad=True)], [torch.ones(2)]) == 0
