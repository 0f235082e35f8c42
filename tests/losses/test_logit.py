from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import (
    QualityFocalKDLoss,
    SoftmaxKLLoss,
    quality_focal,
    quality_focal_kd_loss,
    softmax_kl,
    softmax_kl_loss,
)
from kd_plugins.registry import MODELS
from tests.losses.tester import LossTester

SHAPES = [(5, 3), (2, 3, 4, 6), (2, 3, 2, 4, 6)]


class TestSoftmaxKL(LossTester):
    shape = (2, 3, 4)
    temperature = 2.0

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return softmax_kl_loss([student], [teacher], self.temperature)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        values = []
        for n in range(2):
            for i in range(4):
                p = (teacher[n, :, i] / self.temperature).softmax(0)
                q = (student[n, :, i] / self.temperature).softmax(0)
                values.append(self.temperature**2 * (p * (p / q).log()).sum())
        return torch.stack(values).mean()


class TestQualityFocal(LossTester):
    shape = (2, 3, 4)
    beta = 2.0

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return quality_focal_kd_loss([student], [teacher], self.beta)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        p, q = 1 / (1 + (-teacher).exp()), 1 / (1 + (-student).exp())
        loss = -(p * q.log() + (1 - p) * (1 - q).log()) * (p - q).abs() ** self.beta
        return loss.sum() / p.amax(1).sum()


class TestPlainCrossEntropy(TestQualityFocal):
    beta = 0.0
    equal_is_zero = False


class TestQualityFocalOfDegreeOne(TestQualityFocal):
    beta = 1.0
    equal_is_zero = False  # the value is 0; the gradient of |x| at 0 is a matter of convention

    def test_value_where_equal(self) -> None:
        student, _ = self.inputs()
        assert self.loss(student, student) == 0


@pytest.mark.parametrize('shape', SHAPES)
def test_softmax_kl_is_torch_kl_div(shape: tuple[int, ...]) -> None:
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    expected = F.kl_div((student / 3).log_softmax(1), (teacher / 3).softmax(1), reduction='none').sum(1) * 9
    torch.testing.assert_close(softmax_kl(student, teacher, 3.0), expected)


def test_quality_focal_is_mmdet_on_positives() -> None:
    losses = pytest.importorskip('mmdet.models.losses.gfocal_loss')
    student, teacher = torch.randn(2, 6, 3)
    expected = losses.quality_focal_loss_tensor_target(student, teacher.sigmoid(), beta=2.0, reduction='none')
    torch.testing.assert_close(quality_focal(student, teacher, 2.0).sum(1), expected)


def test_quality_focal_is_mmdet_module_with_one_soft_class() -> None:
    """``QualityFocalLoss`` takes one soft class per row and 0 elsewhere, like a teacher that is sure of the rest."""
    losses = pytest.importorskip('mmdet.models.losses')
    student, quality, label = torch.randn(6, 3), torch.rand(6), torch.tensor([0, 1, 2, 0, 1, 2])
    teacher = torch.full((6, 3), -200.0)
    teacher[torch.arange(6), label] = quality.logit()
    reference = losses.QualityFocalLoss(use_sigmoid=True, beta=2.0, reduction='none')
    torch.testing.assert_close(quality_focal(student, teacher, 2.0).sum(1), reference(student, (label, quality)))


@pytest.mark.parametrize('loss', [softmax_kl_loss, quality_focal_kd_loss])
def test_class_dim_last(loss) -> None:
    student, teacher = torch.randn(2, 2, 3, 7)
    moved = student.transpose(1, 2), teacher.transpose(1, 2)
    torch.testing.assert_close(loss([moved[0]], [moved[1]], class_dim=2), loss([student], [teacher]))
    torch.testing.assert_close(loss([moved[0]], [moved[1]], class_dim=-1), loss([student], [teacher]))


@pytest.mark.parametrize('loss', [softmax_kl_loss, quality_focal_kd_loss])
def test_levels_count_by_their_positions(loss) -> None:
    student, teacher = torch.randn(2, 2, 3, 10)
    split = [student[..., :7], student[..., 7:]], [teacher[..., :7], teacher[..., 7:]]
    torch.testing.assert_close(loss(*split), loss([student], [teacher]))


def test_normaliser_is_at_least_one() -> None:
    student, teacher = torch.zeros(1, 2, 3), torch.full((1, 2, 3), -20.0)
    torch.testing.assert_close(quality_focal_kd_loss([student], [teacher]), quality_focal(student, teacher).sum())


def test_no_positions() -> None:
    empty = torch.zeros(2, 3, 0, requires_grad=True)
    assert softmax_kl_loss([empty], [empty]) == 0
    assert quality_focal_kd_loss([empty], [empty]) == 0


def test_modules() -> None:
    student, teacher = [torch.randn(2, 3, 4)], [torch.randn(2, 3, 4)]
    softmax = MODELS.build({'type': 'kd_plugins.SoftmaxKLLoss', 'temperature': 2.0, 'class_dim': 2})
    focal = MODELS.build({'type': 'kd_plugins.QualityFocalKDLoss', 'beta': 1.0})
    assert isinstance(softmax, SoftmaxKLLoss) and isinstance(focal, QualityFocalKDLoss)
    assert softmax(student, teacher) == softmax_kl_loss(student, teacher, 2.0, 2)
    assert focal(student, teacher) == quality_focal_kd_loss(student, teacher, 1.0)
