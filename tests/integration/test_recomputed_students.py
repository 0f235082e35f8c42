"""Teachers of students whose activations are recomputed in the backward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.runner.steps import distill_hook

from .runs import EMA, LD, Recorder, assert_same, make_runner, model_config, weights

SNAPSHOT: dict[str, Any] = {'type': 'kd_plugins.SnapshotTeacher'}


class Watch(Recorder):
    """Compare the backbones of teacher and student after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.equal: list[bool] = []
        self.tracked: list[int] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        super().after_train_iter(runner, *args, **kwargs)
        hook = distill_hook(runner)
        assert hook is not None
        teacher, student = hook.teachers['teacher'].model, runner.model
        inputs = torch.ones(1, 3, 32, 32)
        with torch.no_grad():
            student.eval()
            outputs = [model.backbone(inputs)[-1] for model in (teacher, student)]
            student.train()
        self.equal.append(torch.equal(*outputs))
        self.tracked.append(int(student.backbone.bn1.num_batches_tracked))


def settings(kind: str) -> dict[str, Any]:
    """Return the settings of a run: MMEngine's activation checkpointing, or MMDetection's in the residual blocks."""
    model = model_config()
    if kind == 'with_cp':
        model['backbone']['with_cp'] = True
        return {'model': model}
    return {'model': model, 'cfg': {'model': model, 'activation_checkpointing': ['backbone']}}


@pytest.mark.filterwarnings('ignore:.*use_reentrant')
@pytest.mark.filterwarnings('ignore:None of the inputs have requires_grad')
@pytest.mark.parametrize('kind', ['activation_checkpointing', 'with_cp'])
@pytest.mark.parametrize('teacher', [EMA, SNAPSHOT], ids=['ema', 'snapshot'])
def test_the_teacher_is_another_network(tmp_path: Path, kind: str, teacher: dict[str, Any]) -> None:
    plain_watch, watch = Recorder(), Watch()
    plain = make_runner(tmp_path / 'plain', hooks=[plain_watch], epochs=2, **settings(kind))
    plain.train()
    # The first batch runs with any weight, so a teacher that is the student would move the student's statistics.
    off = {'localization': {**LD, 'weight': 0.0}}
    runner = make_runner(tmp_path / 'run', off, teacher, hooks=[watch], epochs=2, **settings(kind))
    runner.train()
    assert [{k: v for k, v in step.items() if not k.startswith('distill')} for step in watch.losses] == (
        plain_watch.losses
    )
    assert_same(weights(runner.model), weights(plain.model))
    assert watch.tracked == list(range(1, 9)), 'the statistics move once per step'
    # A snapshot is the student when an epoch has ended, and at no other time.
    assert not any(watch.equal)
