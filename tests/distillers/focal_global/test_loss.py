from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.distillers.focal_global.foreground import box_foreground, cells_of_boxes
from kd_plugins.distillers.focal_global.loss import background_scale, focal_global_terms, sum_over_levels
from tests.distillers.focal_global.direct import GOLDEN_BOXES, GOLDEN_TERMS, direct_terms, golden_maps
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks


def scales(count: int = 2) -> Tensor:
    scale = torch.zeros(count, 4, 5)
    scale[:, 1:3, 1:4], scale[:, 3, 2] = 1 / 6, 0.5
    return scale.flatten(1)


def gaps(count: int = 2) -> Tensor:
    return 0.3 * torch.arange(3.0).expand(count, 3)


class TestFocalGlobal(LossTester):
    shape = (2, 3, 4, 5)
    equal_is_zero = False

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        count = len(student)
        context = gaps(count).to(student.dtype)
        terms = focal_global_terms(student.flatten(2), teacher.flatten(2), scales(count), 0.5, context)
        return torch.stack(sum_over_levels([terms])).sum()

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        images = zip(student, teacher, scales().view(2, 4, 5).to(student), gaps().to(student))
        return torch.stack([direct_terms(s, t, scale, 0.5, gap) for s, t, scale, gap in images]).mean(0).sum()


class TestEqualNetworks(TestFocalGlobal):
    equal_is_zero = True

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        terms = focal_global_terms(student.flatten(2), teacher.flatten(2), scales(len(student)), 0.5)
        return torch.stack(sum_over_levels([terms])).sum()

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        images = zip(student, teacher, scales().view(2, 4, 5).to(student))
        none = student.new_zeros(3)
        return torch.stack([direct_terms(s, t, scale, 0.5, none) for s, t, scale in images]).mean(0).sum()


def test_golden_values_of_the_release() -> None:
    student, teacher = golden_maps()
    boxes = torch.nn.utils.rnn.pad_sequence([torch.tensor(some) for some in GOLDEN_BOXES], batch_first=True)
    scale = box_foreground(cells_of_boxes(boxes, (6, 8), (6, 8)), (6, 8)).flatten(1)
    terms = sum_over_levels([focal_global_terms(student.flatten(2), teacher.flatten(2), scale)])
    assert [term.item() for term in terms] == pytest.approx(GOLDEN_TERMS, rel=1e-6)
    zeros = torch.zeros(2, 4)
    same = sum_over_levels([focal_global_terms(student.flatten(2), teacher.flatten(2), scale, context=zeros)])
    assert torch.equal(torch.stack(terms), torch.stack(same))


def test_levels_are_added() -> None:
    student, teacher = golden_maps()
    terms = focal_global_terms(student.flatten(2), teacher.flatten(2), torch.zeros(2, 48))
    once, twice = (torch.stack(sum_over_levels([terms] * count)) for count in (1, 2))
    torch.testing.assert_close(twice, 2 * once)


def test_padding_counts_for_nothing() -> None:
    student, teacher = golden_maps((2, 3, 4, 5))
    inside = (torch.arange(9) < 5).expand(2, 4, 9).flatten(1)
    padded = [
        torch.cat([x, torch.full((2, 3, 4, 4), fill)], dim=3).flatten(2)
        for x, fill in ((student, 7.0), (teacher, -9.0))
    ]
    scale = torch.zeros(2, 36).masked_scatter(inside, scales())
    leaf = padded[0].requires_grad_()
    terms = focal_global_terms(leaf, padded[1], scale, 0.5, gaps(), inside)
    expected = focal_global_terms(student.flatten(2), teacher.flatten(2), scales(), 0.5, gaps())
    torch.testing.assert_close(torch.stack(terms), torch.stack(expected))
    torch.stack(terms).sum().backward()
    assert leaf.grad is not None and not leaf.grad.movedim(1, 2)[~inside].any()


def test_without_objects_everything_is_background() -> None:
    student, teacher = golden_maps()
    terms = focal_global_terms(student.flatten(2).requires_grad_(), teacher.flatten(2), torch.zeros(2, 48))
    assert not terms.foreground.any() and terms.foreground.requires_grad and (terms.background > 0).all()
    assert torch.equal(background_scale(torch.zeros(1, 4)), torch.full((1, 4), 0.25))
    assert not background_scale(torch.ones(1, 4)).any()


def _job() -> Tensor:
    student, teacher = golden_maps((3, 3, 4, 5))
    part = slice(0, 1) if dist.get_rank() == 0 else slice(1, 3)
    leaf = student[part].flatten(2).requires_grad_()
    terms = focal_global_terms(leaf, teacher[part].flatten(2), scales(3)[part], 0.5, gaps(3)[part])
    loss = torch.stack(sum_over_levels([terms])).sum()
    (gradient,) = torch.autograd.grad(loss, leaf)
    return torch.cat([loss.detach()[None], gradient.flatten()])


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    student, teacher = golden_maps((3, 3, 4, 5))
    leaf = student.flatten(2).requires_grad_()
    loss = torch.stack(sum_over_levels([focal_global_terms(leaf, teacher.flatten(2), scales(3), 0.5, gaps(3))])).sum()
    (gradient,) = torch.autograd.grad(loss, leaf)
    ranks = on_two_ranks(tmp_path, _job)
    torch.testing.assert_close((ranks[0][0] + ranks[1][0]) / 2, loss.detach())
    torch.testing.assert_close(torch.cat([rank[1:] for rank in ranks]) / 2, gradient.flatten())
