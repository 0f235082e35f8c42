"""Problems and remarks of preflight about one term."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_plugins.diagnostics.preflight import Preflight, inspect_terms
from kd_plugins.distillers import Batch
from kd_plugins.distillers.collection import Term
from kd_plugins.hooks.observer import StepReport
from kd_plugins.schedules import Constant


def inspect(value: float, teacher: Any) -> Preflight:
    """Report on one term without gradient on the student and a task loss of 1."""
    weight = torch.nn.Parameter(torch.ones(()))
    term = weight * 0 + value
    teachers = {} if teacher is None else {'teacher': teacher}
    hook = SimpleNamespace(teachers=teachers, distillers={'stages': SimpleNamespace(schedule=Constant(1.0))})
    report = StepReport([Term('stages', 'loss_stages', term, 1.0)], torch.tensor(1.0), Batch(None, []), {}, {})
    model = torch.nn.Module()
    model.weight = weight
    runner = SimpleNamespace(model=model, train_dataloader=[0], max_iters=1)
    result = Preflight()
    inspect_terms(hook, report, runner, result)  # type: ignore[arg-type]
    return result


def test_equal_layers_at_the_start_are_a_remark() -> None:
    result = inspect(0.0, teacher=None)
    assert not result.problems
    assert ['is 0 on the first batch' in remark for remark in result.remarks] == [True]


@pytest.mark.parametrize(('value', 'teacher'), [(0.3, None), (0.3, 'a network'), (0.0, 'a network')])
def test_a_term_without_gradient_is_a_problem(value: float, teacher: Any) -> None:
    assert ['has no gradient on the student' in problem for problem in inspect(value, teacher).problems] == [True]
