"""Problems and remarks of preflight about the batch, the start and the teachers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook

from kd_plugins.checkpoints import LoadReport
from kd_plugins.diagnostics.preflight import batch_with_objects, inheritance_rows, separate_teacher
from kd_plugins.diagnostics.preflight import inspect as inspect_run
from kd_plugins.diagnostics.preflight_terms import Preflight
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from tests.hooks.tiny_runs import make_runner


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


def test_a_hook_whose_distillers_are_all_off_teaches_nothing(tmp_path: Path) -> None:
    """The table named deeper layers of the student as the teacher."""
    hook = DistillHook(distillers={'off': None}, teacher=dict(type='kd_plugins.EMATeacher'))
    result = inspect_run(make_runner(tmp_path / 'run', [hook]))
    assert result.teacher == [('teacher', 'none: no distiller is switched on')] and not result.problems
    assert 'default_hooks.distill.distillers switches no distiller on, so that the labels alone teach' in result.remarks


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


def test_parameters_without_a_gradient_are_told(tmp_path: Path) -> None:
    """A module that MMEngine runs again trains nothing where its input has no gradient, and the run went on."""
    runner = make_runner(tmp_path / 'plain', [])
    assert not any('got no gradient' in remark for remark in inspect_run(runner).remarks)
    runner = make_runner(tmp_path / 'unused', [])
    runner.model.register_module('unused', torch.nn.Linear(2, 2))
    remarks = [remark for remark in inspect_run(runner).remarks if 'got no gradient' in remark]
    assert len(remarks) == 1 and remarks[0].startswith(
        "2 trainable parameters got no gradient in this step (first: 'unused.weight'); training on several processes"
    )
    runner = make_runner(tmp_path / 'found', [])
    runner.model.register_module('unused', torch.nn.Linear(2, 2))
    runner.cfg.find_unused_parameters = True
    assert not any('got no gradient' in remark for remark in inspect_run(runner).remarks)


def test_recomputed_modules_that_train_nothing_are_a_problem(tmp_path: Path) -> None:
    runner = make_runner(tmp_path / 'run', [])
    runner.cfg.activation_checkpointing = ['first']
    (problem,) = inspect_run(runner).problems
    assert problem.startswith(
        "activation_checkpointing is ['first'], and 2 parameters in it get no gradient (first: 'first.weight')"
    )
