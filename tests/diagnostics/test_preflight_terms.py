"""Problems and remarks of preflight about the losses of distillers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_plugins.diagnostics.preflight_terms import Preflight, TermRow, dominant_terms, gradient_norms, inspect_terms
from kd_plugins.distillers import Batch
from kd_plugins.distillers.collection import Term
from kd_plugins.distillers.regions import Regions
from kd_plugins.hooks.observer import StepReport
from kd_plugins.schedules import Constant


def inspect(value: float, teacher: Any, objects: bool = True, regions: Any = None, on: str = 'labelled') -> Preflight:
    """Report on one term without gradient on the student and a task loss of 1."""
    weight = torch.nn.Parameter(torch.ones(()))
    term = weight * 0 + value
    teachers = {} if teacher is None else {'teacher': teacher}
    distiller = SimpleNamespace(schedule=Constant(1.0), regions=regions)
    hook = SimpleNamespace(
        teachers=teachers, distillers={'stages': distiller}, unlabelled=None, weight_at=lambda *at: 1.0
    )
    report = StepReport([Term('stages', 'loss_stages', term, 1.0, on)], torch.tensor(1.0), Batch(None, []), {}, {})
    model = torch.nn.Module()
    model.weight = weight
    runner = SimpleNamespace(model=model, train_dataloader=[0], max_iters=1)
    result = Preflight()
    inspect_terms(hook, report, runner, result, objects)  # type: ignore[arg-type]
    return result


def test_equal_layers_at_the_start_are_a_remark() -> None:
    result = inspect(0.0, teacher=None)
    assert not result.problems
    assert ['is 0 on the first batch' in remark for remark in result.remarks] == [True]


@pytest.mark.parametrize(('value', 'teacher'), [(0.3, None), (0.3, 'a network'), (0.0, 'a network')])
def test_a_term_without_gradient_is_a_problem(value: float, teacher: Any) -> None:
    assert ['has no gradient on the student' in problem for problem in inspect(value, teacher).problems] == [True]


def test_a_term_without_gradient_on_background_is_a_remark() -> None:
    result = inspect(0.3, 'a network', objects=False)
    assert not result.problems
    assert ['because the batch has no object' in remark for remark in result.remarks] == [True]


@pytest.mark.parametrize(
    ('value', 'on', 'problems'), [(0.0, 'unlabelled', 0), (0.3, 'unlabelled', 1), (0.0, 'labelled', 1)]
)
def test_an_untrained_teacher_may_find_nothing_on_unlabelled_images(value: float, on: str, problems: int) -> None:
    result = inspect(value, 'a network', on=on)
    assert len(result.problems) == problems and len(result.remarks) == 1 - problems


@pytest.mark.parametrize(('score', 'remarks'), [(0.5, 1), (0.2, 0)])
def test_an_empty_selection_is_a_remark(score: float, remarks: int) -> None:
    regions = Regions('distillers.stages', dict(score=score), None)
    regions.selected(torch.tensor([[0.1, 0.3, 0.9]]), torch.tensor([[True, True, False]]))
    result = inspect(0.0, 'a network', regions=regions)
    assert len(result.remarks) == remarks and len(result.problems) == 1 - remarks
    if remarks:
        assert result.remarks[0] == (
            "'distill.stages.loss_stages' has no gradient on the student: distillers.stages.select selected 0 of 2 "
            'locations; normal before the teacher has learned'
        )


def test_without_a_selection_nothing_is_remarked() -> None:
    assert inspect(0.0, 'a network', regions=Regions('distillers.stages', None, 'teacher')).problems


def test_losses_on_pseudo_labels_share_the_gradient_of_their_sum() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    terms = [Term('pseudo', 'loss_cls', 3 * weight[0], 1.0, 'unlabelled'), Term('feat', 'loss', weight.sum() * 0, 1.0)]
    terms.append(Term('pseudo', 'loss_box', 4 * weight[1], 1.0, 'unlabelled'))
    assert gradient_norms(terms, [weight]) == [5.0, 0.0, 5.0]


def test_a_term_that_leaves_the_task_no_say_is_a_remark() -> None:
    rows = [TermRow('distill.fgd.loss_fg', 3e4, 0.0, 0.03, 4.0, 3000.0), TermRow('distill.ld', 5.0, 0.0, 1.5, 4.0, 3.0)]
    (remark,) = dominant_terms(Preflight(terms=rows, task_gradient=1.5))
    assert remark.startswith("'distill.fgd.loss_fg' has 60 times the gradient of the task")
    assert dominant_terms(Preflight(terms=rows)) == []
