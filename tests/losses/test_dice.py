"""Dice and cross-entropy against MONAI, and from parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_plugins.losses import DiceCELoss, class_masks, dice_cross_entropy, segmentation_sums
from kd_plugins.registry import MODELS
from tests.losses.tester import LossTester

CLASSES = 3
SHAPES = [(4, 6), (2, 4, 6)]


def inputs(spatial: tuple[int, ...], images: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(images, CLASSES, *spatial, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, CLASSES, (images, *spatial), generator=generator)


class TestDiceCE(LossTester):
    """The second input decides the labels."""

    shape = (2, CLASSES, 4)
    equal_is_zero = False

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return DiceCELoss()(student, teacher.detach().argmax(dim=1))

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        labels, p = teacher.argmax(dim=1), student.softmax(dim=1)
        dice = []
        for n in range(len(student)):
            for c in range(CLASSES):
                truth = (labels[n] == c).double()
                dice.append(1 - (2 * (p[n, c] * truth).sum() + 1e-5) / (p[n, c].sum() + truth.sum() + 1e-5))
        entropy = [-p[n, labels[n, i], i].log() for n in range(len(student)) for i in range(student.shape[2])]
        return torch.stack(dice).mean() + torch.stack(entropy).mean()


@pytest.mark.parametrize('spatial', SHAPES, ids=str)
@pytest.mark.parametrize(('dice_weight', 'ce_weight'), [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.3, 2.0)])
def test_is_monai(spatial: tuple[int, ...], dice_weight: float, ce_weight: float) -> None:
    losses = pytest.importorskip('monai.losses')
    logits, labels = inputs(spatial)
    labels[0] = labels[0].clamp(max=1)  # an image without the last class
    options = dict(include_background=True, to_onehot_y=True, softmax=True)
    reference = losses.DiceCELoss(**options, lambda_dice=dice_weight, lambda_ce=ce_weight)
    module = DiceCELoss(dice_weight, ce_weight)
    first, second = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    expected = reference(second, labels[:, None])
    torch.testing.assert_close(module(first, labels), expected)
    grads = torch.autograd.grad(module(first, labels), first), torch.autograd.grad(expected, second)
    torch.testing.assert_close(*grads)


def test_counted_positions_are_monais() -> None:
    losses = pytest.importorskip('monai.losses')
    logits, labels = inputs((4, 6))
    labels[:, 1] = 255
    rows = [0, 2, 3]
    reference = losses.DiceCELoss(include_background=True, to_onehot_y=True, softmax=True)
    torch.testing.assert_close(DiceCELoss()(logits, labels), reference(logits[:, :, rows], labels[:, None, rows]))


@pytest.mark.parametrize('ignore_index', [255, -100, 1])
def test_ignored_positions_are_as_if_not_there(ignore_index: int) -> None:
    logits, labels = inputs((10,))
    labels[:, 7:] = ignore_index
    if ignore_index == 1:
        labels[:, :7] = labels[:, :7] // 2 * 2
    logits.requires_grad_()
    actual = DiceCELoss(ignore_index=ignore_index)(logits, labels)
    torch.testing.assert_close(actual, DiceCELoss()(logits[:, :, :7], labels[:, :7]))
    (gradient,) = torch.autograd.grad(actual, logits)
    assert not gradient[:, :, 7:].any() and gradient[:, :, :7].any()


def test_nothing_counts() -> None:
    logits = torch.randn(2, CLASSES, 5, requires_grad=True)
    actual = DiceCELoss(dice_weight=0.0)(logits, torch.full((2, 5), 255))
    actual.backward()
    assert actual == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize('spatial', SHAPES, ids=str)
def test_sums_of_parts_and_of_several_maps(spatial: tuple[int, ...]) -> None:
    logits, labels = inputs(spatial)
    labels[0, 0] = 255
    levels = torch.stack([logits, logits.flip(1)])
    masks = class_masks(labels, CLASSES)
    whole = segmentation_sums(levels, masks)
    parts = [segmentation_sums(levels[:, :, :, rows], masks[:, :, rows]) for rows in (slice(0, 1), slice(1, None))]
    for name, value in whole._asdict().items():
        torch.testing.assert_close(sum(getattr(part, name) for part in parts), value)
    actual = dice_cross_entropy(whole)
    assert actual.shape == (2,)
    torch.testing.assert_close(actual, torch.stack([DiceCELoss()(level, labels) for level in levels]))


def test_module() -> None:
    actual = MODELS.build({'type': 'kd_plugins.DiceCELoss', 'ce_weight': 0.5, 'ignore_index': 0})
    assert isinstance(actual, DiceCELoss) and (actual.ce_weight, actual.ignore_index) == (0.5, 0)
