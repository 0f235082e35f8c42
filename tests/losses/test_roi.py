"""Losses on boxes and masks of RoIs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import roi_box_loss, roi_mask_loss
from tests.losses.tester import LossTester, on_device_of

WEIGHT = torch.tensor([0.5, 0.0, 1.0, 2.0])


class TestRoIBoxLoss(LossTester):
    shape = (4, 4)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return roi_box_loss(
            student, teacher, on_device_of(WEIGHT, student).repeat(max(len(student) // 4, 1))[: len(student)]
        )

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        total = student.new_zeros(())
        for mine, theirs, weight in zip(student, teacher, WEIGHT):
            gap = (mine - theirs).abs()
            total = total + weight * torch.where(gap < 1, 0.5 * gap**2, gap - 0.5).sum()
        return total / WEIGHT.sum()


class TestRoIMaskLoss(LossTester):
    shape = (3, 2, 4)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return roi_mask_loss(student, teacher)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        p, q = teacher.sigmoid(), student.sigmoid()
        return (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()


def test_the_gradient_is_that_of_the_cross_entropy() -> None:
    student, teacher = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0)).unbind()
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(roi_mask_loss(student, teacher), student)
    (expected,) = torch.autograd.grad(F.binary_cross_entropy_with_logits(student, teacher.sigmoid()), student)
    torch.testing.assert_close(gradient, expected)


def test_few_confident_rois_do_not_count_more() -> None:
    student, teacher = torch.zeros(1, 4), torch.full((1, 4), 2.0)
    assert roi_box_loss(student, teacher, torch.tensor([0.5])) == 0.5 * roi_box_loss(student, teacher, torch.ones(1))
