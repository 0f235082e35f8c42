"""Losses of cross-head distillation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import cross_box_loss, cross_centerness_loss, cross_class_loss, giou_distance
from tests.losses.tester import LossTester

WEIGHT = torch.tensor([0.5, 0.0, 1.0, 2.0, 1.0, 0.25])


def test_golden_value() -> None:
    """The released quality focal loss of the cross predictions, divided by three objects."""
    numbers = torch.arange(48.0)
    student, teacher = 3 * (0.37 * numbers).sin(), 3 * (0.53 * numbers + 0.2).cos() - 2
    loss = cross_class_loss(student.view(12, 4), teacher.view(12, 4), torch.ones(12), torch.tensor(3))
    torch.testing.assert_close(loss, torch.tensor(12.729877), rtol=0, atol=5e-6)


class TestCrossClassLoss(LossTester):
    shape = (6, 3)
    equal_is_zero = True

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        # Made on the device, because a copy from the host would wait for it.
        weight = torch.arange(len(student), device=student.device) % 3 * 0.5
        return cross_class_loss(student, teacher, weight, torch.full((), len(student) / 3, device=student.device))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        target = teacher.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(student, target, reduction='none')
        weight = torch.tensor([0.0, 0.5, 1.0, 0.0, 0.5, 1.0], dtype=student.dtype)
        return (((student.sigmoid() - target).abs() * entropy).sum(1) * weight).sum() / 2


class TestCrossCenternessLoss(LossTester):
    shape = (6,)
    equal_is_zero = True

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        weight = torch.arange(len(student), device=student.device) % 3 * 0.5
        return cross_centerness_loss(student, teacher, weight, torch.full((), len(student) / 3, device=student.device))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        weight = torch.tensor([0.0, 0.5, 1.0, 0.0, 0.5, 1.0], dtype=student.dtype)
        target = teacher.sigmoid()
        cross, own = (F.binary_cross_entropy_with_logits(x, target, reduction='none') for x in (student, teacher))
        return ((cross - own) * weight).sum() / 2


def boxes(seed: int) -> Tensor:
    corners = torch.rand(6, 2, generator=torch.Generator().manual_seed(seed)) * 10
    return torch.cat([corners, corners + 1 + seed], dim=-1)


def test_box_loss() -> None:
    student, teacher = boxes(0).requires_grad_(), boxes(1).requires_grad_()
    loss = cross_box_loss(student, teacher, WEIGHT, torch.tensor(3))
    torch.testing.assert_close(loss, (giou_distance(student, teacher) * WEIGHT).sum() / 3)
    loss.backward()
    assert teacher.grad is None and student.grad is not None and student.grad[1].abs().sum() == 0
    assert cross_box_loss(student, student.detach(), WEIGHT, torch.tensor(3)).abs() < 1e-6
    # Without objects the divisor is 1, and a teacher's box without area does not count.
    torch.testing.assert_close(cross_box_loss(student, teacher, WEIGHT, torch.tensor(0)), 3 * loss)
    flat = teacher.detach().clone()
    flat[:, 2] = flat[:, 0]
    assert cross_box_loss(student, flat, WEIGHT, torch.tensor(3)) == 0
    assert cross_box_loss(student[:0], teacher[:0], WEIGHT[:0], torch.tensor(0)).requires_grad
