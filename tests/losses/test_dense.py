from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import dense_box_loss, dense_focal_loss, giou_distance, hard_label_loss, quality_focal
from kd_plugins.ops.boxes import to_corners
from kd_plugins.ops.reduction import to_float
from kd_plugins.ops.selection import largest
from tests.losses.golden import cosines, sines
from tests.losses.tester import LossTester


class TestDenseFocal(LossTester):
    shape = (2, 6, 3)
    equal_is_zero = False  # the locations outside the selection learn 0

    def weights(self, images: int) -> tuple[Tensor, Tensor]:
        weight = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0, 2.0]).repeat(images, 1)
        return weight, torch.tensor([0.0, 0.0, 1.0, 0.25, 0.0, 0.0]).repeat(images, 1)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return dense_focal_loss(student, teacher, *self.weights(len(student)))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        target, q, total, normal = 1 / (1 + (-teacher).exp()), 1 / (1 + (-student).exp()), 0.0, 0.0
        weight, negative = self.weights(len(student))
        for n in range(student.shape[0]):
            for i in range(6):
                y, p = target[n, i], q[n, i]
                entropy = -(y * p.log() + (1 - y) * (1 - p).log())
                total += weight[n, i] * (entropy * (y - p) ** 2).sum()
                total += negative[n, i] * (-(1 - p).log() * p**2).sum()
                normal += weight[n, i] * y.max()
        return total / normal


class TestDenseFocalOfTheSelectedAlone(TestDenseFocal):
    equal_is_zero = True

    def weights(self, images: int) -> tuple[Tensor, Tensor]:
        weight, negative = super().weights(images)
        return weight, torch.zeros_like(negative)


class TestHardLabel(LossTester):
    shape = (2, 6, 4)
    equal_is_zero = False  # the target is certain and the student is not

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        weight = torch.tensor([1.0, 0.0, 0.5, 0.0, 1.0, 1.0]).repeat(len(student), 1)
        valid = torch.tensor([1, 1, 1, 1, 1, 0]).bool().repeat(len(student), 1)
        return hard_label_loss(student, teacher, weight, valid)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        total = 0.0
        for n in range(len(student)):
            for i, weight in ((0, 1.0), (2, 0.5), (4, 1.0)):
                label = int(teacher[n, i].argmax())
                largest = student[n, i].max()
                total += weight * (largest + (student[n, i] - largest).exp().sum().log() - student[n, i, label])
        return total / (5 * len(student))


class TestDenseBox(LossTester):
    shape = (2, 5, 4)

    def corners(self, raw: Tensor) -> Tensor:
        raw = to_float(raw)  # the corners are no part of what is tested
        low = raw[..., :2] * 3
        return torch.cat([low, low + 2 + raw[..., 2:].abs()], dim=-1)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        weight = torch.tensor([0.0, 1.0, 0.5, 2.0, 0.25]).expand(student.shape[:2])
        return dense_box_loss(self.corners(student), self.corners(teacher), weight)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        total, weights = 0.0, (0.0, 1.0, 0.5, 2.0, 0.25)
        for n in range(student.shape[0]):
            for i, weight in enumerate(weights):
                a, b = self.corners(student)[n, i].tolist(), self.corners(teacher)[n, i].tolist()
                wide = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
                overlap = wide * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
                union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - overlap
                hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
                total += weight * (1 - overlap / union + (hull - union) / hull)
        return torch.tensor(total / (student.shape[0] * sum(weights)), dtype=torch.float64)

    def test_equal(self) -> None:
        student, _ = self.inputs(torch.float32)
        assert self.loss(student, student).abs() < 1e-6


def test_value_of_dense_teacher() -> None:
    """Computed with the released function of DenseTeacher (8fbf465), which selects the locations 5, 8 and 11."""
    student, teacher = 3 * sines(12, 4), 3 * cosines(12, 4) - 2
    confidence = teacher.sigmoid().amax(dim=1)
    selected = largest(confidence, torch.ones(12, dtype=torch.bool), ratio=0.25)
    assert selected.nonzero().flatten().tolist() == [5, 8, 11]
    torch.testing.assert_close(confidence[selected].sum(), torch.tensor(2.180845))
    torch.testing.assert_close(dense_focal_loss(student, teacher, selected, ~selected), torch.tensor(16.794502))


def test_class_term_of_bckd() -> None:
    """Computed with the released function of CrossKD (87e156a): degree 1, three positives."""
    student, teacher = 3 * sines(12, 4), 3 * cosines(12, 4) - 2
    torch.testing.assert_close(quality_focal(student, teacher, 1.0).sum() / 3, torch.tensor(12.729877))
    every, none = torch.ones(12), torch.zeros(12)
    expected = 3 * 12.729877 / teacher.sigmoid().amax(dim=1).sum()
    torch.testing.assert_close(dense_focal_loss(student, teacher, every, none, beta=1.0), expected)


def test_box_term_of_kd_detr() -> None:
    """Computed with the released function of KD-DETR (e7dfccb), whose weights are the highest probabilities."""
    boxes = [to_corners(0.3 + 0.2 * values(2, 3, 4).abs()) for values in (sines, cosines)]
    weight = (3 * cosines(2, 3, 5)).sigmoid().amax(dim=-1)
    torch.testing.assert_close(weight.sum(), torch.tensor(4.694998))
    torch.testing.assert_close(dense_box_loss(*boxes, weight), torch.tensor(0.573900))


def test_giou_is_mmdet() -> None:
    bbox = pytest.importorskip('mmdet.structures.bbox')
    corners = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(0)) * 20
    first, second = (torch.cat([low, low + 5], dim=-1) for low in corners)
    expected = 1 - bbox.bbox_overlaps(first, second, mode='giou', is_aligned=True)
    torch.testing.assert_close(giou_distance(first, second), expected)
    assert expected.max() > 1.5 and expected.min() < 0.8


@pytest.mark.parametrize(
    'box',
    [[1.0, 1.0, 1.0, 1.0], [3.0, 1.0, 1.0, 4.0], [3.0, 4.0, 1.0, 1.0], [-1e6, -1e6, 1e6, 1e6]],
    ids=['point', 'one edge crosses', 'edges cross', 'huge'],
)
def test_degenerate_boxes_are_finite(box: list[float]) -> None:
    student = torch.tensor(box, requires_grad=True)
    for teacher in (box, [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]):
        student.grad = None
        distance = giou_distance(student, torch.tensor(teacher))
        distance.backward()
        assert 0 <= distance <= 2 and student.grad is not None and student.grad.isfinite().all()


def test_teacher_boxes_without_area_count_for_nothing() -> None:
    student = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]])
    teacher = torch.tensor([[5.0, 5.0, 5.0, 9.0], [0.0, 0.0, 2.0, 2.0]])
    expected = giou_distance(student[1], teacher[1])
    torch.testing.assert_close(dense_box_loss(student, teacher, torch.ones(2)), expected)


def test_nothing_selected() -> None:
    student = torch.randn(2, 5, 4, requires_grad=True)
    none = torch.zeros(2, 5)
    losses = (
        dense_focal_loss(student, torch.randn(2, 5, 4), none, none),
        dense_box_loss(student, student + 1, none),
        hard_label_loss(student, torch.randn(2, 5, 4), none, none > 0),
        hard_label_loss(student, torch.randn(2, 5, 4), none, none == 0),
    )
    for loss in losses:
        assert loss == 0
        (gradient,) = torch.autograd.grad(loss, student)
        assert gradient.abs().sum() == 0


def test_normaliser_is_at_least_one() -> None:
    student, teacher = torch.zeros(1, 3), torch.full((1, 3), -20.0)
    expected = quality_focal(student, teacher).sum()
    torch.testing.assert_close(dense_focal_loss(student, teacher, torch.ones(1), torch.zeros(1)), expected)
    box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    weight = torch.tensor([0.25])
    torch.testing.assert_close(dense_box_loss(box + 1, box, weight), 0.25 * giou_distance(box + 1, box)[0])


def test_hard_labels_are_the_cross_entropy_of_torch() -> None:
    """With UniMatch's mask: sum over the confident pixels, divided by all that are not ignored."""
    student, teacher = 3 * sines(2, 5, 4, 3), 9 * cosines(2, 5, 4, 3)
    confidence, label = teacher.softmax(dim=-1).max(dim=-1)
    valid = torch.ones(2, 5, 4, dtype=torch.bool)
    valid[1, 3:] = False
    label[~valid] = 255
    per_pixel = F.cross_entropy(student.permute(0, 3, 1, 2), label, ignore_index=255, reduction='none')
    confident = confidence >= 0.95
    assert 0 < (confident & valid).sum() < valid.sum()
    expected = (per_pixel * confident).sum() / valid.sum()
    torch.testing.assert_close(hard_label_loss(student, teacher, confident, valid), expected)
    mean = F.cross_entropy(student.permute(0, 3, 1, 2), label, ignore_index=255)
    torch.testing.assert_close(hard_label_loss(student, teacher, torch.ones(2, 5, 4), valid), mean)
