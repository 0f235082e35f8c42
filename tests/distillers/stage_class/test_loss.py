"""Losses of the class heads of stages, by hand and against torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.nn.functional as F

from kd_plugins.distillers.stage_class import presence_loss, stage_loss, turned_target
from tests.distillers.common import sentence
from tests.ranks import on_two_ranks


def wave(*shape: int) -> torch.Tensor:
    return (0.37 * torch.arange(torch.Size(shape).numel())).sin().view(shape)


def other(*shape: int) -> torch.Tensor:
    return (0.53 * torch.arange(torch.Size(shape).numel()) + 0.2).cos().view(shape)


def test_golden_value() -> None:
    """The value of the released BCKD and CrossKD for 12 rows of 4 classes, divided by 3."""
    student, teacher = 3 * wave(12, 4), 3 * other(12, 4) - 2
    loss = stage_loss([student, teacher], beta=1.0)
    torch.testing.assert_close(loss * 12 / 3, torch.tensor(12.729877))


def test_who_teaches() -> None:
    stages = [(index + 1) * wave(3, 2) + index for index in range(3)]
    leaves = [x.clone().requires_grad_() for x in stages]
    losses = {}
    for teacher in ('deepest', 'next'):
        loss = stage_loss(leaves, teacher)
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        assert [one is not None for one in gradients] == [True, True, False]
        losses[teacher] = loss.detach()
        pairs = [(0, 2), (1, 2)] if teacher == 'deepest' else [(0, 1), (1, 2)]
        expected = torch.zeros(())
        for first, second in pairs:
            target = stages[second].sigmoid()
            factor = (target - stages[first].sigmoid()).square()
            entropy = F.binary_cross_entropy_with_logits(stages[first], target, reduction='none')
            expected += (factor * entropy).sum() / 3 / 2
        torch.testing.assert_close(loss.detach(), expected)
    assert losses['deepest'] != losses['next']
    with sentence("teacher is 'last'; .*'next'"):
        stage_loss(stages, 'last')


def test_presence_is_that_of_torch() -> None:
    stages, target = [wave(3, 4), other(3, 4)], (wave(3, 4) > 0).float()
    expected = torch.stack([F.binary_cross_entropy_with_logits(x, target) for x in stages]).mean()
    torch.testing.assert_close(presence_loss(stages, target), expected)
    assert presence_loss([x[:0] for x in stages], target[:0]) == 0
    assert presence_loss([x.bfloat16() for x in stages], target).dtype == torch.float32


def test_joint_labels() -> None:
    present = torch.tensor([[1.0, 0.0, 1.0]])
    assert torch.equal(turned_target(present, 0, 1), present)
    turned = torch.stack([turned_target(present, turn, 4) for turn in range(4)])
    assert turned.sum() == 8 and torch.equal(turned.sum(dim=0), present.repeat_interleave(4, dim=1))
    assert turned[3, 0].nonzero().flatten().tolist() == [3, 11]


def halves() -> list[float]:
    rank = torch.distributed.get_rank()
    rows = slice(0, 1) if rank == 0 else slice(1, 4)
    stages = [wave(4, 3)[rows], other(4, 3)[rows]]
    return [float(presence_loss(stages, (wave(4, 3) > 0).float()[rows])), float(stage_loss(stages))]


@pytest.mark.distributed
def test_two_ranks_with_other_numbers_of_images(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, halves)
    stages = [wave(4, 3), other(4, 3)]
    whole = [float(presence_loss(stages, (wave(4, 3) > 0).float())), float(stage_loss(stages))]
    for index, expected in enumerate(whole):
        assert (first[index] + second[index]) / 2 == pytest.approx(expected, rel=1e-5)
