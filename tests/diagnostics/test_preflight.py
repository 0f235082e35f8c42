from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_plugins.diagnostics.preflight import Preflight, _inspect_terms
from kd_plugins.schedules import Constant


def inspect(value: float, teacher: Any) -> Preflight:
    """Report one term that has no gradient on the student, beside a task loss of 1."""
    weight = torch.nn.Parameter(torch.ones(()))
    term = weight * 0 + value
    hook = SimpleNamespace(
        teacher=teacher,
        distillers={'stages': SimpleNamespace(schedule=Constant(1.0))},
        last_report={
            'student_taps': {},
            'teacher_taps': {},
            'terms': {'distill.stages.loss_stages': term},
            'task_loss': torch.tensor(1.0),
            'weights': {'stages': 1.0},
        },
    )
    model = torch.nn.Module()
    model.weight = weight
    runner = SimpleNamespace(model=model, train_dataloader=[0], max_iters=1)
    result = Preflight()
    _inspect_terms(hook, runner, result)  # type: ignore[arg-type]
    return result


def test_layers_that_agree_at_the_start_are_no_problem() -> None:
    result = inspect(0.0, teacher=None)
    assert not result.problems
    assert ['is 0 on the first batch' in remark for remark in result.remarks] == [True]


@pytest.mark.parametrize(('value', 'teacher'), [(0.3, None), (0.3, 'a network'), (0.0, 'a network')])
def test_a_term_that_teaches_nothing_is_a_problem(value: float, teacher: Any) -> None:
    assert ['has no gradient on the student' in problem for problem in inspect(value, teacher).problems] == [True]
