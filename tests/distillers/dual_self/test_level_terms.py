"""Losses of auxiliary heads from sums over parts, against whole maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers.dual_self.level_head import LevelHeads
from kd_plugins.distillers.dual_self.level_terms import OUTPUT, Branch, LevelTerms
from kd_plugins.losses import DiceCELoss, level_kl

CLASSES, SIZE = 3, (8, 8)
ENCODER = Branch(order=[0, 1, 2], levels=[0, 1, 2], supervised=[0, 1, 2], students=[0, 1], teacher=2)
DECODER = Branch(order=[0], levels=[3], supervised=[3], students=[3], teacher=OUTPUT)


def terms(**options: Any) -> LevelTerms:
    settings = dict(
        num_classes=CLASSES,
        ignore_index=255,
        dice_weight=1.0,
        ce_weight=1.0,
        temperature=3.0,
        include_background=True,
        detach_teacher=True,
        divisor=1,
        chunk=None,
    )
    return LevelTerms(**{**settings, **options})


@pytest.fixture
def levels() -> dict[int, Tensor]:
    torch.manual_seed(0)
    return {at: torch.randn(2, 4, side, side, dtype=torch.float64) for at, side in enumerate((8, 4, 2, 4))}


@pytest.fixture
def heads(levels: dict[int, Tensor]) -> LevelHeads:
    made = LevelHeads(levels, CLASSES)
    for param in made.parameters():
        nn.init.normal_(param, std=0.5)
    return made


@pytest.fixture
def logits(heads: LevelHeads, levels: dict[int, Tensor]) -> dict[int, Tensor]:
    output = torch.randn(2, CLASSES, 8, 8, dtype=torch.float64)
    return {**heads.project([levels[at] for at in range(4)]), OUTPUT: output}


@pytest.fixture
def labels() -> Tensor:
    made = torch.randint(0, CLASSES, (2, *SIZE), generator=torch.Generator().manual_seed(1))
    made[:, 3] = 255
    return made


def test_levels_that_take_part_in_a_divergence() -> None:
    assert ENCODER.taught == [0, 1, 2] and DECODER.taught == [3, OUTPUT]
    assert Branch([0], [0], [0], [], 0).taught == []


@pytest.mark.parametrize('chunk', [None, 1, 40])
def test_parts_add_up_to_the_losses_of_whole_maps(
    heads: LevelHeads, logits: dict[int, Tensor], labels: Tensor, chunk: int | None
) -> None:
    actual = terms(chunk=chunk)(heads, {'encoder': ENCODER, 'decoder': DECODER}, logits, labels, SIZE)
    whole = heads.whole(logits, SIZE)
    weight = (labels != 255).double()
    for name, branch in (('encoder', ENCODER), ('decoder', DECODER)):
        expected = torch.stack([DiceCELoss(ignore_index=255)(whole[at], labels) for at in branch.supervised])
        torch.testing.assert_close(actual[f'loss_{name}_seg'], expected)
        students = torch.stack([whole[at] for at in branch.students])
        divergence = level_kl(students, whole[branch.teacher], weight, 3.0, True, True)
        torch.testing.assert_close(actual[f'loss_{name}_kl'].sum(), divergence.sum())


def test_divergences_at_a_part_of_the_size(heads: LevelHeads, logits: dict[int, Tensor]) -> None:
    unsupervised = replace(ENCODER, supervised=[])
    actual = terms(divisor=2)(heads, {'encoder': unsupervised}, logits, None, SIZE)
    whole = heads.whole(logits, (4, 4))
    expected = level_kl(torch.stack([whole[0], whole[1]]), whole[2], None, 3.0, True, True)
    assert set(actual) == {'loss_encoder_kl'}
    torch.testing.assert_close(actual['loss_encoder_kl'].sum(), expected.sum())


def test_a_branch_without_students_has_no_divergence(
    heads: LevelHeads, logits: dict[int, Tensor], labels: Tensor
) -> None:
    alone = Branch(order=[0, 1, 2], levels=[0, 1, 2], supervised=[0, 1], students=[], teacher=2)
    actual = terms()(heads, {'encoder': alone}, logits, labels, SIZE)
    assert set(actual) == {'loss_encoder_seg'} and actual['loss_encoder_seg'].shape == (2,)


def test_all_positions_ignored(heads: LevelHeads, logits: dict[int, Tensor], labels: Tensor) -> None:
    actual = terms()(heads, {'encoder': ENCODER}, logits, torch.full_like(labels, 255), SIZE)
    assert actual['loss_encoder_kl'].eq(0).all() and all(value.isfinite().all() for value in actual.values())
