"""The distance of label-guided self-distillation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.distillers.label_guided import label_guided_distance
from tests.distillers.common import sentence
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks

SHAPES = [(3, 4, 6, 5), (3, 4, 3, 3), (3, 4, 1, 1)]


def waves(*shape: int) -> tuple[Tensor, Tensor]:
    """The inputs of the golden values."""
    steps = torch.arange(torch.Size(shape).numel(), dtype=torch.float32)
    return (0.37 * steps).sin().view(shape), (0.53 * steps + 0.2).cos().view(shape)


def pyramid(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator) for shape in SHAPES]


def masks(sizes: list[list[tuple[int, int]]]) -> list[Tensor]:
    """Cells of each level on each image, given height and width of the part that is no padding."""
    valid = [torch.zeros(shape[0], 1, *shape[2:], dtype=torch.bool) for shape in SHAPES]
    for level, images in zip(valid, sizes):
        for mask, (height, width) in zip(level, images):
            mask[:, :height, :width] = True
    return valid


PADDED = masks([[(6, 5), (4, 5), (6, 2)], [(3, 3), (2, 3), (3, 1)], [(1, 1)] * 3])


class TestLabelGuidedDistance(LossTester):
    shape = (2, 3, 4, 5)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return label_guided_distance([student], [teacher])

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(F.instance_norm(student), F.instance_norm(teacher))


def test_golden_value() -> None:
    """The value of the released definition, computed when the specification was written."""
    student, teacher = waves(2, 3, 4, 5)
    torch.testing.assert_close(label_guided_distance([student], [teacher]), torch.tensor(1.993626), rtol=0, atol=2e-6)


def test_levels_are_one_list_of_cells() -> None:
    """As in the release, which flattens and concatenates the levels."""
    student, teacher = pyramid()[:2], pyramid(1)[:2]
    rows = [torch.cat([F.instance_norm(x).flatten(2) for x in side], dim=2) for side in (student, teacher)]
    torch.testing.assert_close(label_guided_distance(student, teacher), F.mse_loss(*rows))
    each = [label_guided_distance([s], [t]) for s, t in zip(student, teacher)]
    torch.testing.assert_close(label_guided_distance(student, teacher, balance='levels'), sum(each) / 2)


@pytest.mark.parametrize('balance', ['pixels', 'levels'])
def test_padding_and_single_cells_count_for_nothing(balance: str) -> None:
    student, teacher = pyramid(), pyramid(1)
    value = label_guided_distance(student, teacher, PADDED, balance)
    # Image by image, each cut to its own part; the last level has one cell, which has no spread.
    cut = []
    for image in range(3):
        parts = [
            [x[image, :, m[image, 0].any(1)][:, :, m[image, 0].any(0)][None] for x, m in zip(side[:2], PADDED)]
            for side in (student, teacher)
        ]
        cut.append(label_guided_distance(*parts, balance=balance))
    torch.testing.assert_close(value, torch.stack(cut).mean())
    changed = [torch.where(m, x, torch.full_like(x, 7.0)) for x, m in zip(student, PADDED)]
    torch.testing.assert_close(label_guided_distance(changed, teacher, PADDED, balance), value)


def test_offset_and_scale_of_a_channel_change_nothing() -> None:
    student, teacher = pyramid(), pyramid(1)
    scale, offset = torch.rand(3, 4, 1, 1) + 0.5, torch.randn(3, 4, 1, 1)
    moved = [x * scale + offset for x in student]
    torch.testing.assert_close(
        label_guided_distance(moved, teacher), label_guided_distance(student, teacher), rtol=1e-3, atol=1e-4
    )


def test_weights_of_images() -> None:
    student, teacher = pyramid(), pyramid(1)
    weight = torch.tensor([1.0, 0.0, 1.0])
    kept = label_guided_distance([x[[0, 2]] for x in student], [x[[0, 2]] for x in teacher])
    torch.testing.assert_close(label_guided_distance(student, teacher, weight=weight), kept)
    leaves = [x.requires_grad_() for x in student]
    nothing = label_guided_distance(leaves, teacher, weight=torch.zeros(3))
    nothing.backward()
    assert nothing == 0 and all(x.grad is not None and (x.grad == 0).all() for x in leaves)
    with sentence("balance is 'cells'; "):
        label_guided_distance(student, teacher, balance='cells')


def _share() -> list[Tensor]:
    """Gradients of the share of one rank, or of the whole batch without ranks."""
    part = slice(None) if not dist.is_initialized() else (slice(0, 1), slice(1, 3))[dist.get_rank()]
    student, teacher = ([x[part] for x in pyramid(seed)] for seed in (0, 1))
    leaves = [x.clone().requires_grad_() for x in student]
    weight = torch.tensor([1.0, 0.0, 1.0])[part]
    value = label_guided_distance(leaves, teacher, [m[part] for m in PADDED], weight=weight)
    return list(torch.autograd.grad(value, leaves))


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    ranks = on_two_ranks(tmp_path, _share)
    for whole, *parts in zip(_share(), *ranks):
        torch.testing.assert_close(torch.cat(parts) / 2, whole)
