"""DistillHook in short runs: its parts, its weights, its checkpoints and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import CheckpointHook, Hook
from mmengine.visualization import Visualizer

from kd_plugins.checkpoints import ATOMIC_BACKEND
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.hooks.observer import StepReport
from kd_plugins.utils.safe_load import load_safely
from tests.hooks.tiny_runs import ADAPTED, EMA, GAP, TinyStudent, losses_of, make_runner

KEY = 'distill.gap.loss_gap'


def hook(distiller: dict[str, Any] = ADAPTED, teacher: dict[str, Any] | None = EMA, **options: Any) -> DistillHook:
    return DistillHook({'gap': distiller}, teacher, **options)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ({'distillers': [GAP]}, 'default_hooks.distill.distillers is list; give a dict of name to config'),
        ({'distillers': {'a.b': GAP}}, "the name 'a.b' contains a dot; use 'a_b'"),
        (
            {'distillers': {'a': {**GAP, 'source': 'teacher'}}},
            "distillers.a.source is 'teacher', but default_hooks.distill.teacher is None",
        ),
        ({'distillers': {'a': {'weight': 1.0}}}, "distillers.a is .*; give a dict with 'type'"),
        ({'distillers': {'a': {**GAP, 'weight': -1.0}}}, "distillers.a.weight: 'Constant.value' is -1.0"),
        ({'distillers': {}, 'teacher': {**EMA, 'momentum': 2}}, 'teacher.momentum is 2'),
        ({'distillers': {}, 'teacher': GAP}, "teacher.type is 'kd_plugins.TinyGap', which is not a BaseTeacher"),
        ({'distillers': {}, 'restart': ['head']}, 'default_hooks.distill.restart is .*; give a dict'),
        ({'distillers': {}, 'task_weight': -1.0}, 'default_hooks.distill.task_weight is -1.0'),
        (
            {'distillers': {}, 'checks': {'clases': False}},
            "a name in default_hooks.distill.checks is 'clases'",
        ),
        ({'distillers': {}, 'checks': {'classes': 0}}, 'default_hooks.distill.checks.classes is 0; valid: True, False'),
        ({'distillers': {}, 'checks': False}, 'default_hooks.distill.checks is False; give a dict'),
    ],
)
def test_sentences(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DistillHook(**arguments)


def test_none_switches_a_distiller_off() -> None:
    parts = DistillHook({'a': GAP, 'b': None}, EMA).distillers
    assert list(parts) == ['a'] and parts['a'].key == 'distillers.a'


def test_a_run_attaches_and_detaches(tmp_path: Path) -> None:
    class Watch(Hook):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            hooks.append(len(runner.model._forward_hooks))
            groups.append(len(runner.optim_wrapper.optimizer.param_groups))

    hooks: list[int] = []
    groups: list[int] = []
    distill = hook()
    runner = make_runner(tmp_path / 'run', [distill, Watch()], epochs=1)
    runner.train()
    optimizer = runner.optim_wrapper.optimizer
    assert hooks == [1] * 4 and groups == [1] * 4, 'the optimizer of the student has its own parameters alone'
    assert not runner.model._forward_hooks and not optimizer._optimizer_step_post_hooks
    assert distill.session is None and distill.optimizer is None


def test_weights_follow_their_schedules(tmp_path: Path) -> None:
    schedule = {'type': 'kd_plugins.LinearWarmup', 'value': 1.0, 'end': 4}
    reports: list[StepReport] = []
    distill = hook({**GAP, 'weight': schedule})
    distill.subscribe(reports.append)
    losses = losses_of(tmp_path / 'run', [distill], epochs=2)
    weights = [report.terms[0].weight for report in reports]
    assert weights == sorted(weights) and weights[0] == 0.0 and weights[4:] == [1.0] * 4
    for report, logged in zip(reports, losses):
        assert logged[KEY] == pytest.approx(float(report.terms[0].raw) * report.terms[0].weight)


def test_epochs_of_a_schedule_survive_another_batch_size(tmp_path: Path) -> None:
    step = {'type': 'kd_plugins.Step', 'value': 1.0, 'milestones': [2], 'gamma': 0.5, 'by_epoch': True}
    hooks = [EpochSeedHook(), hook({**GAP, 'weight': step})]
    losses_of(tmp_path / 'run', hooks, stop_at=5, epochs=3)
    reports: list[StepReport] = []
    distill = hook({**GAP, 'weight': step})
    distill.subscribe(reports.append)
    runner = make_runner(tmp_path / 'run', [EpochSeedHook(), distill], epochs=3, resume=True)
    runner._train_dataloader['batch_size'] = 1
    runner.train()
    # The second and third epoch have 8 iterations, the first one had 4.
    assert [report.terms[0].weight for report in reports] == [1.0] * 8 + [0.5] * 8


def test_the_teacher_follows_after_each_iteration_and_epoch(tmp_path: Path) -> None:
    distill = hook()
    losses_of(tmp_path / 'run', [distill], epochs=1)
    assert distill.teachers['teacher'].updates == 4
    snapshot = hook(teacher={'type': 'kd_plugins.SnapshotTeacher'})
    losses_of(tmp_path / 'snapshot', [snapshot], epochs=2)
    assert snapshot.teachers['teacher'].finished == 2


def test_checkpoints_hold_the_students_keys_and_what_a_resumed_run_needs(tmp_path: Path) -> None:
    whole = losses_of(tmp_path / 'whole', [EpochSeedHook(), hook()], epochs=3)
    checkpoint = load_safely(tmp_path / 'whole' / 'epoch_1.pth')
    assert checkpoint['state_dict'].keys() == TinyStudent().state_dict().keys()
    assert checkpoint['distill'].keys() == {'version', 'teachers', 'distillers', 'optimizer', 'log'}
    assert len(checkpoint['optimizer']['param_groups']) == 1 and checkpoint['distill']['optimizer']
    losses_of(tmp_path / 'cut', [EpochSeedHook(), hook()], stop_at=6, epochs=3)
    resumed = losses_of(tmp_path / 'cut', [EpochSeedHook(), hook()], epochs=3, resume=True)
    assert resumed == whole[4:]


def test_a_plain_run_goes_on_with_distillation(tmp_path: Path) -> None:
    losses_of(tmp_path / 'run', [], epochs=1)
    assert all(KEY in step for step in losses_of(tmp_path / 'run', [hook()], epochs=2, resume=True))


def test_other_adapters_in_the_checkpoint_are_refused(tmp_path: Path) -> None:
    losses_of(tmp_path / 'run', [hook()], epochs=1)
    other = DistillHook({'renamed': ADAPTED}, EMA)
    with pytest.raises(ConfigError, match='the resumed checkpoint holds other adapters'):
        losses_of(tmp_path / 'run', [other], epochs=2, resume=True)


def test_weights_without_an_optimizer_stay_plain(tmp_path: Path) -> None:
    distill = hook()
    runner = make_runner(tmp_path / 'run', [distill], default_hooks=dict(checkpoint=None))
    checkpoint = {'state_dict': {}}
    distill.before_save_checkpoint(runner, checkpoint)
    assert checkpoint == {'state_dict': {}}


@pytest.mark.parametrize(
    ('settings', 'distill', 'expected'),
    [
        ({}, {}, {'backend': ATOMIC_BACKEND}),
        ({}, {'atomic_checkpoints': False}, None),
        ({'out_dir': 'petrel://bucket'}, {}, None),
        ({'backend_args': {'backend': 'local'}}, {}, {'backend': 'local'}),
    ],
)
def test_local_checkpoints_become_atomic(
    tmp_path: Path, settings: dict[str, Any], distill: dict[str, Any], expected: Any
) -> None:
    saver = CheckpointHook(interval=1)
    vars(saver).update(settings)
    runner = make_runner(tmp_path / 'run', [hook(**distill), saver], default_hooks=dict(checkpoint=None))
    for one in runner.hooks:
        if isinstance(one, DistillHook):
            one.before_run(runner)
    assert saver.backend_args == expected


def test_classes_of_the_teacher_must_be_those_of_the_data(tmp_path: Path) -> None:
    distill = hook()
    distill.distillers['gap'].compares_classes = True
    distill.teachers['teacher'].classes = ('right', 'left')
    with pytest.raises(ConfigError, match=r"2 classes \('right', 'left'\) where train_dataloader"):
        losses_of(tmp_path / 'run', [distill])


def test_a_teacher_of_other_classes_may_teach_features(tmp_path: Path) -> None:
    distill = hook()
    distill.distillers['gap'].compares_classes = False
    distill.teachers['teacher'].classes = ('right', 'left')
    assert losses_of(tmp_path / 'run', [distill], epochs=1)


def test_classes_can_stay_unchecked(tmp_path: Path) -> None:
    distill = hook(checks={'classes': False})
    distill.distillers['gap'].compares_classes = True
    distill.teachers['teacher'].classes = ('right', 'left')
    assert losses_of(tmp_path / 'run', [distill], epochs=1)


def test_the_classes_of_the_config_are_checked(tmp_path: Path) -> None:
    """As the commands do, so that the tools of OpenMMLab find the mistake as well."""
    config = dict(
        default_scope='mmdet',
        model=dict(bbox_head=dict(num_classes=3)),
        train_dataloader=dict(dataset=dict(type='CocoDataset', ann_file='a.json', metainfo=dict(classes=('a', 'b')))),
    )
    with pytest.raises(ConfigError, match='model.bbox_head.num_classes is 3, but .* has 2 classes'):
        losses_of(tmp_path / 'run', [hook(checks={'data': False})], cfg=config)
    assert losses_of(tmp_path / 'off', [hook(checks={'classes': False, 'data': False})], cfg=config, epochs=1)


def test_one_call_of_the_visualizer_per_interval(tmp_path: Path) -> None:
    class Count(Hook):
        def before_run(self, runner: Any) -> None:
            write = runner.visualizer.add_scalars

            def add_scalars(scalars: dict[str, float], step: int = 0, **kwargs: Any) -> None:
                steps.append((step, 'distill.gap.loss_gap/raw' in scalars, 'loss' in scalars))
                write(scalars, step=step, **kwargs)

            type(runner.visualizer).add_scalars, self.original = staticmethod(add_scalars), write

        def after_run(self, runner: Any) -> None:
            type(runner.visualizer).add_scalars = Visualizer.add_scalars

    class Counted(Visualizer):
        pass

    steps: list[Any] = []
    visualizer = Counted(name=f'{tmp_path.name}_counted')
    hooks = dict(logger=dict(type='LoggerHook', interval=2), checkpoint=None)
    losses_of(tmp_path / 'run', [hook(), Count()], default_hooks=hooks, visualizer=visualizer, epochs=1)
    assert steps == [(2, True, True), (4, True, True)]


def test_terms_are_reported_at_the_end_of_a_short_epoch(tmp_path: Path) -> None:
    hooks = dict(logger=dict(type='LoggerHook', interval=50), checkpoint=None)
    losses_of(tmp_path / 'run', [hook()], default_hooks=hooks, epochs=2)
    (file,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line['step'], 'loss' in line, 'distill.gap.loss_gap/raw' in line) for line in lines] == [
        (4, True, True),
        (8, True, True),
    ]


def test_two_hooks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='default_hooks and custom_hooks hold 2 DistillHooks'):
        losses_of(tmp_path / 'run', [hook(), hook()])
