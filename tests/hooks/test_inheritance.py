"""Parts of the student that start with the weights of a finished teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.inheritance import check_parts, inherit, sentences
from kd_plugins.teachers import FrozenTeacher

from ..integration.runs import Recorder, Squares, assert_same, make_runner, model_config, weights
from ..ranks import on_two_ranks
from ..versioned import Versioned

PARTS = ['neck', 'bbox_head']
WIDER = {'type': 'kd_plugins.FrozenTeacher', 'config': {'model': model_config(channels=16)}, 'checkpoint': None}
SAME = {**WIDER, 'config': {'model': model_config()}}
FGD = {'type': 'kd_plugins.FocalGlobalDistiller', 'student_tap': 'neck.fpn_convs.*'}
EMA = {'type': 'kd_plugins.EMATeacher', 'momentum': 0.1}


class Start(Hook):
    """Keep the student's weights before its first step, and those of the teachers."""

    priority = 'LOW'

    def __init__(self) -> None:
        self.student: dict[str, Tensor] = {}
        self.teachers: dict[str, dict[str, Tensor]] = {}

    def before_train(self, runner: Any) -> None:
        hook = next(one for one in runner.hooks if isinstance(one, DistillHook))
        self.student = weights(getattr(runner.model, 'module', runner.model))
        self.teachers = {name: weights(teacher.model) for name, teacher in hook.teachers.items()}


def run(work_dir: Path, distillers: Any, teacher: Any, **options: Any) -> tuple[Any, list[dict[str, float]]]:
    recorder = Recorder(options.pop('kill_at', None))
    runner = make_runner(work_dir, distillers, teacher, hooks=[recorder, *options.pop('hooks', [])], **options)
    runner.train()
    return runner, recorder.losses


def trained(folder: Path) -> str:
    make_runner(folder / 'teacher', epochs=1, randomness={'seed': 9}).train()
    return str(folder / 'teacher' / 'epoch_1.pth')


def test_a_run_starts_with_what_fits(tmp_path: Path) -> None:
    start = Start()
    teacher = {**SAME, 'checkpoint': trained(tmp_path)}
    _, losses = run(
        tmp_path / 'run', {'fgd': FGD}, teacher, hooks=[start], epochs=1, distill={'init_from_teacher': PARTS}
    )
    given = start.teachers['teacher']
    copied = {name for name in start.student if name.startswith(('neck.', 'bbox_head.'))}
    assert_same({name: start.student[name] for name in copied}, {name: given[name] for name in copied})
    rest = (set(start.student) - copied) & set(given)
    assert any(not torch.equal(start.student[name], given[name]) for name in rest)
    assert sorted(name for name in losses[0] if name.startswith('distill')) == [
        f'distill.fgd.loss_{name}' for name in ('att', 'bg', 'fg', 'rel')
    ]


def test_is_the_run_from_a_merged_checkpoint(tmp_path: Path) -> None:
    """With weight 0, the run is that of a plain model that loads the copied weights."""
    teacher, start = {**SAME, 'checkpoint': trained(tmp_path)}, Start()
    data: dict[str, Any] = {'dataset': Squares(augment=True), 'epochs': 1}
    off = {'fgd': {**FGD, 'weight': 0.0}}
    runner, losses = run(
        tmp_path / 'run',
        off,
        teacher,
        hooks=[start, EMAHook(momentum=0.1)],
        distill={'init_from_teacher': PARTS},
        **data,
    )
    torch.save({'state_dict': start.student, 'meta': {}}, tmp_path / 'start.pth')
    plain, expected = run(
        tmp_path / 'plain', None, None, hooks=[EMAHook(momentum=0.1)], load_from=str(tmp_path / 'start.pth'), **data
    )
    assert [{k: v for k, v in step.items() if not k.startswith('distill')} for step in losses] == expected
    assert_same(weights(runner.model), weights(plain.model))


def test_nothing_is_copied_on_resume(tmp_path: Path) -> None:
    options: dict[str, Any] = {'dataset': Squares(augment=True), 'epochs': 3, 'distill': {'init_from_teacher': PARTS}}
    teacher = {**SAME, 'checkpoint': trained(tmp_path)}
    whole, expected = run(tmp_path / 'whole', {'fgd': FGD}, teacher, **options)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / 'cut', {'fgd': FGD}, teacher, kill_at=5, **options)
    resumed, losses = run(tmp_path / 'cut', {'fgd': FGD}, teacher, resume=True, **options)
    assert losses == expected[4:]
    assert_same(weights(resumed.model), weights(whole.model))


def test_without_distillers_the_teacher_only_gives_its_weights(tmp_path: Path) -> None:
    start = Start()
    teacher = {**SAME, 'checkpoint': trained(tmp_path)}
    _, losses = run(tmp_path / 'run', {}, teacher, hooks=[start], epochs=1, distill={'init_from_teacher': ['neck']})
    name = 'neck.fpn_convs.0.conv.weight'
    assert torch.equal(start.student[name], start.teachers['teacher'][name])
    assert not any(name.startswith('distill') for name in losses[0])


def test_an_average_of_the_student_has_the_same_start(tmp_path: Path) -> None:
    start = Start()
    teachers = {'average': EMA, 'big': {**SAME, 'checkpoint': trained(tmp_path)}}
    distillers = {'fgd': {**FGD, 'source': 'average'}}
    run(
        tmp_path / 'run',
        distillers,
        None,
        hooks=[start],
        epochs=1,
        distill={'teachers': teachers, 'init_from_teacher': PARTS},
    )
    assert_same(start.teachers['average'], start.student)


def _job(folder: Path) -> dict[str, Tensor]:
    start = Start()
    run(
        folder / 'ranks',
        {'fgd': FGD},
        WIDER,
        hooks=[start],
        epochs=1,
        launcher='pytorch',
        cfg={'model_wrapper_cfg': {'type': 'MMDistributedDataParallel', 'device_ids': None}},
        distill={'init_from_teacher': ['neck.fpn_convs', 'bbox_head']},
    )
    return {**start.student, **{f'teacher.{name}': value for name, value in start.teachers['teacher'].items()}}


def test_every_rank_has_the_same_start(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, _job, tmp_path)
    assert_same(first, second)
    assert torch.equal(first['bbox_head.gfl_cls.weight'], first['teacher.bbox_head.gfl_cls.weight'])


class Part(nn.Module):
    """A network with a neck and a head."""

    def __init__(self, width: int = 4, classes: int = 2, norm: bool = False) -> None:
        super().__init__()
        self.neck = nn.Sequential(nn.Linear(width, 3), nn.Linear(3, 3))
        self.head = nn.Linear(3, classes)
        if norm:
            self.neck.append(nn.BatchNorm1d(3))


def giver(model: nn.Module) -> FrozenTeacher:
    teacher = FrozenTeacher(config={'model': {}}, checkpoint=None)
    teacher._adopt(model)
    return teacher


def test_all_that_does_not_fit_is_listed() -> None:
    student, teacher = Part(norm=True), Part(width=5, classes=3)
    with pytest.raises(ConfigError, match=r"nothing of 'head' fits: their shapes differ \('head.weight': \(3, 3\) in"):
        inherit(student, giver(teacher), ['neck', 'head'])
    report = inherit(student, giver(teacher), ['neck'])
    assert report.loaded == ['neck.0.bias', 'neck.1.weight', 'neck.1.bias'] and not report.unexpected
    assert torch.equal(student.neck[1].weight, teacher.neck[1].weight)
    copied, shapes, missing = sentences(report, ['neck'], 'teacher')
    assert copied == 'default_hooks.distill.init_from_teacher: 3 tensors of neck start from teacher.'
    assert "1 tensors keep their own start: they have another shape ('neck.0.weight': (3, 5) in the teacher" in shapes
    assert 'they are not in the teacher (neck.2.weight, neck.2.bias' in missing
    with pytest.raises(ConfigError, match="'nek' names no module of the student; .*'neck'"):
        inherit(student, giver(teacher), ['nek'])
    teacher.body = teacher.neck
    del teacher.neck
    with pytest.raises(ConfigError, match="'neck' names no module of the teacher; "):
        inherit(student, giver(teacher), ['neck'])
    with pytest.raises(ConfigError, match="nothing of 'neck.1' fits: they hold no common tensor"):
        inherit(nn.ModuleDict({'neck': nn.Sequential(nn.Linear(2, 2), nn.ReLU())}), giver(Part()), ['neck.1'])


@pytest.mark.parametrize('value', ['neck', [], [1], [''], {}], ids=str)
def test_values_that_are_no_lists(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"init_from_teacher is .*; give a list of .* \['neck', 'bbox_head'\]"):
        check_parts(value)


def test_parts_of_parts() -> None:
    with pytest.raises(ConfigError, match="holds 'neck.a', which is part of 'neck' there"):
        check_parts(['neck.a', 'neck'])
    with pytest.raises(ConfigError, match="holds 'neck', which is part of 'neck' there"):
        check_parts(['neck', 'neck'])
    assert check_parts(['neck', 'neck2']) == ['neck', 'neck2']


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'teacher': EMA}, 'teacher is EMATeacher, which starts from the student; give teacher=dict.*FrozenTeacher'),
        ({}, 'needs a finished teacher, and default_hooks.distill.teacher is None'),
        ({'teachers': {'a': SAME, 'b': WIDER}}, r'the hook has 2 frozen teachers \(a, b\); give one'),
        (
            {'teacher': SAME, 'restart': {'parts': ['bbox_head']}},
            'distill.restart both decide where the student starts',
        ),
    ],
)
def test_teachers_that_cannot_give(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        DistillHook(distillers={}, init_from_teacher=PARTS, **settings)


def test_weights_are_copied_as_they_are() -> None:
    student, teacher = (nn.ModuleDict({'body': Versioned(), 'head': Versioned()}) for _ in range(2))
    body = student['body'].scale.clone()
    inherit(student, giver(teacher), ['head'])
    assert torch.equal(student['head'].weight, teacher['head'].weight)
    assert torch.equal(student['body'].scale, body), 'the other parts stay as they are'
