"""The log of a run after a distiller or a task loss has ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.ended_terms import EndedTerms
from tests.hooks.tiny_runs import EMA, GAP, losses_of

LOGGED: dict[str, Any] = dict(
    logger=dict(type='LoggerHook', interval=2), checkpoint=dict(type='CheckpointHook', interval=1)
)


def logged(work_dir: Path) -> list[dict[str, float]]:
    """Return the lines of the log of a run and of its resumption."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def resumed(work_dir: Path, hook: Hook) -> list[dict[str, float]]:
    """Return the lines of a run with two distillers, which goes on with another hook after its first epoch."""
    both = DistillHook({'gap': GAP, 'other': {**GAP, 'tap': 'first'}}, EMA)
    losses_of(work_dir, [both], epochs=2, stop_at=5, default_hooks=LOGGED)
    count = len(logged(work_dir))
    losses_of(work_dir, [hook], epochs=2, resume=True, default_hooks=LOGGED)
    return logged(work_dir)[count:]


def test_a_distiller_that_was_switched_off_is_no_longer_logged(tmp_path: Path) -> None:
    lines = resumed(tmp_path / 'run', DistillHook({'gap': GAP, 'other': None}, EMA))
    assert [line['step'] for line in lines] == [6, 8]
    for line in lines:
        assert 'distill.gap.loss_gap' in line and not any('other' in name for name in line)


def test_a_run_that_goes_on_without_distillers_logs_its_losses(tmp_path: Path) -> None:
    lines = resumed(tmp_path / 'run', EndedTerms())
    assert [line['step'] for line in lines] == [6, 8]
    for line in lines:
        assert 'loss_task' in line and not any('distill' in name for name in line)


def test_a_task_loss_whose_factor_becomes_0_is_logged_under_its_other_name_alone(tmp_path: Path) -> None:
    stop = dict(type='kd_plugins.Stop', value=1.0, end=4)
    losses_of(tmp_path / 'run', [DistillHook({'gap': GAP}, EMA, task_weight=stop)], epochs=2, default_hooks=LOGGED)
    names = [('loss_task' in line, 'task.task' in line) for line in logged(tmp_path / 'run')]
    assert names == [(True, False), (True, False), (False, True), (False, True)]
