"""Focal and global distillation on two gloo ranks with half the batch each, compared with one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')
from tests.integration.halves import assert_equals_whole, train_share
from tests.ranks import on_two_ranks

FGD = dict(
    type='kd_plugins.FocalGlobalDistiller', alpha=0.1, beta=0.1, gamma=0.01, lamda=1e-3, freeze_teacher_block=False
)


def train_whole(work_dir: Path, batch_size: int) -> dict[str, Any]:
    return train_share(work_dir / f'run_{batch_size}', batch_size, {'fgd': FGD}, init_from_teacher=['neck.fpn_convs'])


@pytest.mark.slow
@pytest.mark.distributed
def test_two_halves_equal_the_whole(tmp_path: Path) -> None:
    whole = train_whole(tmp_path, 4)
    assert_equals_whole(on_two_ranks(tmp_path, train_whole, tmp_path, 2), whole)
    assert all(step[f'distill.fgd.loss_{name}'] > 0 for step in whole['losses'] for name in ('bg', 'att', 'rel'))
    assert any(step['distill.fgd.loss_fg'] > 0 for step in whole['losses'])
