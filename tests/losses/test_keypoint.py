from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.losses import KeypointKLLoss, keypoint_kl, laplace_kl_loss, mean_over_joints
from kd_plugins.registry import MODELS
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks

REDUCTIONS = ['task', 'mean', 'reference']


def axes(logits: Tensor) -> list[Tensor]:
    """Three bins along x, the rest along y."""
    return [logits[..., :3], logits[..., 3:]]


def by_definition(student: list[Tensor], teacher: list[Tensor], beta: float, weight: Tensor, reduction: str) -> Tensor:
    """The sums as they are written, one joint of one image after the other."""
    total = torch.zeros((), dtype=torch.float64)
    images, joints = weight.shape
    for s, t in zip(student, teacher):
        for n in range(images):
            for k in range(joints):
                p, q = torch.exp(beta * t[n, k]), torch.exp(beta * s[n, k])
                p, q = p / p.sum(), q / q.sum()
                divergence = sum(p[i] * torch.log(p[i] / q[i]) for i in range(len(p)))
                total = total + weight[n, k] * divergence / (len(p) if reduction == 'task' else images)
    return total / joints


class TestMean(LossTester):
    shape = (2, 3, 8)
    reduction = 'mean'
    beta = 2.0

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return keypoint_kl(axes(student), axes(teacher), self.beta, reduction=self.reduction)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return by_definition(axes(student), axes(teacher), self.beta, torch.ones(2, 3), self.reduction)


class TestReference(TestMean):
    reduction = 'reference'


class TestTask(TestMean):
    reduction = 'task'

    def test_batch_duplication(self) -> None:
        """The task loss is a sum over the batch, and so is this."""
        student, teacher = self.inputs()
        twice = self.loss(torch.cat([student, student]), torch.cat([teacher, teacher]))
        torch.testing.assert_close(twice, 2 * self.loss(student, teacher))


def data(images: int = 4, joints: int = 3, bins: tuple[int, int] = (6, 8)) -> tuple[list[Tensor], list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(images)
    student, teacher = (
        [torch.randn(images, joints, size, generator=generator, dtype=torch.float64) for size in bins] for _ in range(2)
    )
    return student, teacher, torch.rand(images, joints, generator=generator, dtype=torch.float64).round(decimals=1)


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_weights_and_bins(reduction: str) -> None:
    student, teacher, weight = data()
    expected = by_definition(student, teacher, 3.0, weight, reduction)
    actual = keypoint_kl(student, teacher, 3.0, weight, reduction)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_nothing_counts(reduction: str) -> None:
    student, teacher, weight = data()
    student[0].requires_grad_()
    actual = keypoint_kl(student, teacher, 10.0, torch.zeros_like(weight), reduction)
    actual.backward()
    assert actual == 0 and student[0].grad is not None and not student[0].grad.any()


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_weights_get_no_gradient(reduction: str) -> None:
    student, teacher, weight = data()
    student[0].requires_grad_()
    keypoint_kl(student, teacher, 10.0, weight.requires_grad_(), reduction).backward()
    assert weight.grad is None


def test_reference_is_the_released_loss() -> None:
    """The release takes weights and does not use them."""
    losses = pytest.importorskip('mmpose.models.losses')
    reference = losses.KDLoss(name='loss_logit', use_this=True, weight=0.1)
    for images in (1, 3, 16):
        student, teacher, weight = data(images)
        expected = reference(student, teacher, 10.0, weight)
        torch.testing.assert_close(0.1 * keypoint_kl(student, teacher, 10.0, reduction='reference'), expected)
        torch.testing.assert_close(reference(student, teacher, 10.0, torch.zeros_like(weight)), expected)


@pytest.mark.parametrize('images', [1, 3, 16])
def test_task_is_the_task_loss_with_the_teacher_as_label(images: int) -> None:
    losses = pytest.importorskip('mmpose.models.losses')
    reference = losses.KLDiscretLoss(beta=10.0, label_softmax=True, label_beta=10.0, use_target_weight=True)
    student, teacher, weight = data(images)
    expected = reference(student, teacher, weight)
    torch.testing.assert_close(keypoint_kl(student, teacher, 10.0, weight), expected)


def test_ratio_to_the_task_loss() -> None:
    """The default keeps it in any batch; the released reduction divides it by the images of the batch."""
    losses = pytest.importorskip('mmpose.models.losses')
    task = losses.KLDiscretLoss(beta=10.0, label_softmax=True, use_target_weight=True)
    student, teacher, weight = data(2)
    truth = [torch.rand_like(t) for t in teacher]
    ratios: dict[str, list[Tensor]] = {'task': [], 'reference': []}
    for times in (1, 4, 32):
        student_logits, teacher_logits, labels = (
            [x.repeat(times, 1, 1) for x in group] for group in (student, teacher, truth)
        )
        whole = task(student_logits, labels, weight.repeat(times, 1))
        for reduction, actual in ratios.items():
            actual.append(keypoint_kl(student_logits, teacher_logits, 10.0, reduction=reduction) / whole)
    torch.testing.assert_close(torch.stack(ratios['task']), ratios['task'][0].expand(3))
    shrunk = ratios['reference'][0] / torch.tensor([1.0, 4.0, 32.0], dtype=torch.float64)
    torch.testing.assert_close(torch.stack(ratios['reference']), shrunk)


def test_mean_over_joints_counts_weightless_joints() -> None:
    values, weight = torch.tensor([[1.0, 3.0], [5.0, 7.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    assert mean_over_joints(values) == 4.0
    assert mean_over_joints(values, weight) == (1.0 + 2.5) / 4
    assert mean_over_joints(values[:0], weight[:0]) == 0


def test_module_and_config() -> None:
    student, teacher, weight = data()
    module = MODELS.build({'type': 'kd_plugins.KeypointKLLoss', 'beta': 5.0, 'reduction': 'mean'})
    assert isinstance(module, KeypointKLLoss)
    assert module(student, teacher, weight) == keypoint_kl(student, teacher, 5.0, weight, 'mean')
    with pytest.raises(ConfigError, match="reduction is 'sum'; .*'task'"):
        KeypointKLLoss(reduction='sum')
    with pytest.raises(ConfigError, match="reduction is 'men'; nearest: 'mean'"):
        keypoint_kl(student, teacher, 5.0, reduction='men')


SPLITS = [[slice(0, 2), slice(2, 5)], [slice(0, 0), slice(0, 5)]]


def _losses(student: Tensor, teacher: Tensor, weight: Tensor) -> dict[str, Tensor]:
    pair = axes(student), axes(teacher)
    spread = student[..., :4].sigmoid(), teacher[..., :4].sigmoid()
    return {
        'mean': keypoint_kl(*pair, 10.0, reduction='mean'),
        'weighted': keypoint_kl(*pair, 10.0, weight, 'mean'),
        'laplace': laplace_kl_loss((student[..., 4:8], spread[0]), (teacher[..., 4:8], spread[1]), weight),
        'task': keypoint_kl(*pair, 10.0, weight, 'task'),
    }


def _data() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    student, teacher = torch.randn(2, 5, 3, 8, generator=generator, dtype=torch.float64)
    return student, teacher, torch.rand(5, 3, generator=generator, dtype=torch.float64).round()


def _gradients_of_shares() -> list[dict[str, Tensor]]:
    grads = []
    for split in SPLITS:
        student, teacher, weight = (x[split[dist.get_rank()]] for x in _data())
        student.requires_grad_()
        losses = _losses(student, teacher, weight)
        grads.append({name: torch.autograd.grad(loss, student, retain_graph=True)[0] for name, loss in losses.items()})
    return grads


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, _gradients_of_shares)
    student, teacher, weight = _data()
    student.requires_grad_()
    for name, loss in _losses(student, teacher, weight).items():
        (whole,) = torch.autograd.grad(loss, student, retain_graph=True)
        for index in range(len(SPLITS)):
            ranks = [first[index][name], second[index][name]]
            # DDP averages over ranks, so each image's share of a mean is halved; the task loss, like KLDiscretLoss, is
            # a sum over the rank's own images, which no other rank changes.
            split = torch.cat(ranks) if name == 'task' else torch.cat(ranks) / 2
            torch.testing.assert_close(split, whole, msg=lambda text, name=name: f'{name}: {text}')


@pytest.mark.parametrize('reduction', ['task', 'mean'])
def test_counted_joints(reduction: str) -> None:
    """The mean of the joints that count; all of them give the plain value."""
    student, teacher, weight = data()
    counted = torch.rand(4, 3, generator=torch.Generator().manual_seed(1)) > 0.4
    assert 0 < counted.sum() < counted.numel()
    masked = by_definition(student, teacher, 3.0, weight * counted, reduction)
    # 'mean' divides by N K and 'task' by K.
    expected = masked * 12 / (weight * counted).sum()
    actual = keypoint_kl(student, teacher, 3.0, weight, reduction, counted)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    every = keypoint_kl(student, teacher, 3.0, None, reduction, torch.ones_like(counted))
    torch.testing.assert_close(every, keypoint_kl(student, teacher, 3.0, None, reduction))


@pytest.mark.parametrize('reduction', ['task', 'mean'])
def test_no_joint_counts(reduction: str) -> None:
    student, teacher, weight = data()
    leaves = [axis.requires_grad_() for axis in student]
    value = keypoint_kl(leaves, teacher, 3.0, weight, reduction, torch.zeros(4, 3, dtype=torch.bool))
    gradients = torch.autograd.grad(value, leaves)
    assert value == 0 and not any(gradient.any() for gradient in gradients)
    with pytest.raises(ConfigError, match="reduction is 'reference', which counts all joints"):
        keypoint_kl(student, teacher, 3.0, weight, 'reference', torch.ones(4, 3, dtype=torch.bool))
