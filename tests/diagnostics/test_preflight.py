"""Problems and remarks of preflight about one term."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook

from kd_plugins.checkpoints import LoadReport
from kd_plugins.diagnostics.preflight import (
    Preflight,
    batch_with_objects,
    gradient_norms,
    inheritance_rows,
    inspect_terms,
    separate_teacher,
)
from kd_plugins.diagnostics.preflight import inspect as inspect_run
from kd_plugins.distillers import Batch
from kd_plugins.distillers.collection import Term
from kd_plugins.distillers.regions import Regions
from kd_plugins.errors import ConfigError
from kd_plugins.hooks.observer import StepReport
from kd_plugins.schedules import Constant
from tests.hooks.tiny_runs import make_runner


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


def loader(*counts: int) -> Any:
    """Return a runner whose batches have one data sample with so many objects each."""
    samples = [[SimpleNamespace(gt_instances=[0] * count)] for count in counts]
    return SimpleNamespace(train_dataloader=[{'inputs': index, 'data_samples': at} for index, at in enumerate(samples)])


def test_the_first_batch_with_an_object_is_looked_at() -> None:
    batch, remark = batch_with_objects(loader(2, 1))
    assert batch['inputs'] == 0 and remark is None
    batch, remark = batch_with_objects(loader(0, 0, 1))
    assert batch['inputs'] == 2 and remark is not None and remark.startswith('batch 3 is the first one with an object')
    batch, remark = batch_with_objects(loader(0, 0))
    assert batch['inputs'] == 0 and remark is not None and 'the first 2 batches of train_dataloader hold no' in remark
    with pytest.raises(ConfigError, match='train_dataloader gives no batch'):
        batch_with_objects(loader())


def test_the_start_from_the_teacher_is_shown() -> None:
    result, report = Preflight(), LoadReport(['neck.a', 'neck.b'], mismatched={'neck.c': ((2,), (3,))})
    inheritance = SimpleNamespace(report=report, parts=['neck', 'head'], source='teacher')
    inheritance_rows(SimpleNamespace(inheritance=inheritance), result)  # type: ignore[arg-type]
    assert result.teacher == [('init_from_teacher', '2 tensors of neck, head copied, 1 keep their own start')]
    assert ["'neck.c': (2,) in the teacher, (3,) in the student" in remark for remark in result.remarks] == [True]
    for nothing in (None, SimpleNamespace(report=None)):
        inheritance_rows(SimpleNamespace(inheritance=nothing), result)  # type: ignore[arg-type]
    assert len(result.teacher) == 1


@pytest.mark.parametrize(('generated', 'warned'), [(False, 1), (True, 0)])
def test_an_average_that_stays_at_the_start_is_a_remark(tmp_path: Path, generated: bool, warned: int) -> None:
    """With generated data, the number of images and so the length of a run of epochs is unknown."""
    runner = make_runner(tmp_path / 'run', [EMAHook(momentum=1e-4)], epochs=3)
    remarks = inspect_run(runner, generated).remarks
    assert sum('EMAHook.momentum is 0.0001 and the run has 12 updates' in remark for remark in remarks) == warned


def test_untrained_teachers_are_moved_away_from_their_start() -> None:
    """Networks whose last layers start at 0 predict alike, although they are no copies of each other."""
    torch.manual_seed(0)
    student, copied, untrained, trained = (torch.nn.Linear(3, 2) for _ in range(4))
    copied.load_state_dict(student.state_dict())
    before = {name: model.weight.clone() for name, model in (('untrained', untrained), ('trained', trained))}
    teachers = {
        'copied': SimpleNamespace(model=copied),
        'untrained': SimpleNamespace(model=untrained, checkpoint=None),
        'trained': SimpleNamespace(model=trained, checkpoint='a.pth'),
    }
    hook: Any = SimpleNamespace(teachers=teachers)
    assert separate_teacher(hook, student)
    assert not torch.equal(copied.weight, student.weight)
    assert not torch.equal(untrained.weight, before['untrained']) and torch.equal(trained.weight, before['trained'])
    hook.teachers = {'untrained': teachers['untrained']}
    assert not separate_teacher(hook, student), 'it is no copy'
