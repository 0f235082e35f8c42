"""Teachers in runs: several by name, loops of iterations, accumulation, activation checkpointing and resuming."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from torch import nn

from kd_plugins.distillers import LogitDistiller
from kd_plugins.errors import ConfigError, KDPluginsError
from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.hooks.observer import StepReport
from kd_plugins.hooks.teaching import check_teacher_classes, share_classes
from kd_plugins.losses import dense_focal_loss
from kd_plugins.ops.probabilities import agreement, mean_logits
from kd_plugins.teachers import EMATeacher
from tests.hooks.tiny_runs import ADAPTED, EMA, GAP, ITERATIONS, TinyStudent, losses_of, make_runner

SNAPSHOT: dict[str, Any] = {'type': 'kd_plugins.SnapshotTeacher'}
SLOW: dict[str, Any] = {**EMA, 'momentum': 0.01}


def two(**changes: Any) -> DistillHook:
    distillers = {
        'one': {**ADAPTED, 'source': 'slow'},
        'two': {**GAP, 'tap': 'first', 'source': 'past'},
        'three': {**GAP, 'source': 'slow'},
        **changes,
    }
    return DistillHook(distillers, teachers={'slow': SLOW, 'past': SNAPSHOT, 'unused': EMA})


def test_each_teacher_runs_once_and_only_if_it_is_needed(tmp_path: Path) -> None:
    class Count(Hook):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            if not calls:
                for name, teacher in distill.teachers.items():
                    teacher.model.first.register_forward_pre_hook(lambda *call, name=name: calls[-1].append(name))
            calls.append([])

    calls: list[list[str]] = []
    late = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 6}
    distill = two(one={**ADAPTED, 'source': 'slow', 'weight': late}, three=None)
    losses = losses_of(tmp_path / 'run', [Count(), distill])
    assert list(distill.teachers) == ['slow', 'past'], 'a teacher without a distiller is not built'
    assert calls == [[]] * 4 + [['past']] * 2 + [['slow', 'past']] * 2
    assert all(step['distill.two.loss_gap'] == 0 for step in losses[:5]) and losses[5]['distill.two.loss_gap'] > 0


def test_the_outputs_are_those_of_the_named_teacher(tmp_path: Path) -> None:
    class Set(Hook):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            with torch.no_grad():
                for teacher, value in zip(distill.teachers.values(), (2.0, 5.0)):
                    nn.init.zeros_(teacher.model.second.weight)
                    nn.init.constant_(teacher.model.second.bias, value)
                nn.init.zeros_(runner.model.second.weight)
                nn.init.zeros_(runner.model.second.bias)

    reports: list[StepReport] = []
    distillers = {name: {**GAP, 'source': name} for name in ('a', 'b')}
    distill = DistillHook(distillers, teachers={'a': EMA, 'b': EMA})
    distill.subscribe(reports.append)
    losses = losses_of(tmp_path / 'run', [Set(), distill], epochs=1)
    assert losses[0]['distill.a.loss_gap'] == 4.0 and losses[0]['distill.b.loss_gap'] == 25.0
    assert reports[0].teacher_shapes == {'a': {'second': [(2, 3)]}, 'b': {'second': [(2, 3)]}}


def test_two_teachers_of_one_distiller(tmp_path: Path) -> None:
    """Both run, the target is the mean of both, and the distiller waits for the later one."""

    class Set(Hook):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            with torch.no_grad():
                layers = [runner.model.second, *(teacher.model.second for teacher in distill.teachers.values())]
                for layer, value in zip(layers, (0.0, 2.0, -1.0)):
                    nn.init.zeros_(layer.weight)
                    nn.init.constant_(layer.bias, value)

    agreed = {'type': 'kd_plugins.LogitDistiller', 'logits': 'second', 'source': ['a', 'b'], 'tau': 0.5}
    agreed['trust'] = 'agreement'
    distill = DistillHook({'agreed': agreed}, teachers={'a': EMA, 'b': {**EMA, 'begin': 2}, 'c': EMA})
    losses = losses_of(tmp_path / 'run', [Set(), distill], epochs=1)
    assert list(distill.teachers) == ['a', 'b']
    rows = [torch.full((2, 1, 3), value) for value in (0.0, 2.0, -1.0)]
    weight = agreement(rows[1:], softmax=False, tau=0.5)
    expected = dense_focal_loss(rows[0], mean_logits(rows[1:], softmax=False), weight, torch.zeros(2, 1))
    values = [step['distill.agreed.loss_logit'] for step in losses]
    assert values[:2] == [0.0, 0.0] and values[2] == pytest.approx(float(expected), rel=1e-5)


def test_teachers_that_do_not_fit_together_are_one_sentence() -> None:
    gap = {'type': 'kd_plugins.LogitDistiller', 'logits': 'second'}
    features = {'type': 'kd_plugins.FeatureDistiller', 'student_tap': 'second'}
    for config, source, match in (
        (gap, ['a', 'slower'], "distillers.x.source is 'slower', which names no teacher; nearest: 'slow'"),
        (
            gap,
            ['a', 'a'],
            r"distillers.x.source has \['a', 'a'\], and a list holds the names of at least two different",
        ),
        (gap, ['a'], r"distillers.x.source has \['a'\], and .* for one, give its name alone, such as source='a'"),
        (gap, ['student', 'a'], "distillers.x.source has 'student', and a list"),
        (features, ['a', 'slow'], 'FeatureDistiller learns from one teacher; give each teacher a distiller of its own'),
    ):
        with pytest.raises(ConfigError, match=match):
            DistillHook({'x': {**config, 'source': source}}, teachers={'a': EMA, 'slow': SLOW})


def test_classes_of_teachers_that_know_others() -> None:
    def distiller(classes: Any, source: Any = 'a') -> LogitDistiller:
        return LogitDistiller('second', teacher_classes=classes, source=source, key='distillers.x')

    teachers = {name: EMATeacher(key=f'teachers.{name}') for name in ('a', 'b')}
    teachers['a'].classes = ('dog', 'cow')  # type: ignore[attr-defined]
    runner = SimpleNamespace(
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo={'classes': ('cat', 'cow', 'dog')}))
    )
    for one in (distiller('checkpoint'), distiller(['dog', 'cow'], source='b')):
        check_teacher_classes(runner, [one], teachers)
        share_classes(runner, [one], teachers)
        assert one.subset.student.tolist() == [1, 2] and one.subset.teacher.tolist() == [1, 0]
    plain = LogitDistiller('second', source='a', key='distillers.x')
    share_classes(runner, [plain], teachers)
    assert plain.subset is None
    with pytest.raises(ConfigError, match='trained on 2 classes'):
        check_teacher_classes(runner, [plain], teachers)
    with pytest.raises(
        ConfigError, match="teacher_classes is 'checkpoint', and teachers.b has no checkpoint that names"
    ):
        share_classes(runner, [distiller('checkpoint', 'b')], teachers)
    teachers['b'].classes = ('cow', 'cat')  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match='its teachers know different classes; give each of them a distiller'):
        share_classes(runner, [distiller('checkpoint', ['a', 'b'])], teachers)
    runner.train_dataloader.dataset.metainfo = {}
    with pytest.raises(ConfigError, match='needs one list of classes of train_dataloader.dataset, which has 0'):
        share_classes(runner, [distiller('checkpoint')], teachers)


def test_a_tap_names_the_teacher_that_lacks_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"distillers.two.tap .*: 'frst' names no module of the"):
        losses_of(tmp_path / 'run', [two(two={**GAP, 'tap': 'frst', 'source': 'past'})])


@pytest.mark.parametrize('sources', [('auto', 'slow'), ('slow', 'auto')])
def test_auto_is_refused_with_several_teachers(sources: tuple[str, str]) -> None:
    distillers = {f'd{index}': {**GAP, 'source': source} for index, source in enumerate(sources)}
    with pytest.raises(ConfigError, match=r"distillers.d\d.source is 'auto', .* valid: 'slow', 'past', 'student'"):
        DistillHook(distillers, teachers={'slow': SLOW, 'past': SNAPSHOT})


def test_several_teachers_resume_exactly(tmp_path: Path) -> None:
    whole = losses_of(tmp_path / 'whole', [EpochSeedHook(), two()], epochs=3)
    losses_of(tmp_path / 'cut', [EpochSeedHook(), two()], stop_at=6, epochs=3)
    assert losses_of(tmp_path / 'cut', [EpochSeedHook(), two()], epochs=3, resume=True) == whole[4:]


@pytest.mark.parametrize(
    ('teacher', 'sentence'),
    [
        ({'teacher': SNAPSHOT}, 'teacher.type is SnapshotTeacher, and in the resumed checkpoint it is EMATeacher'),
        ({'teachers': {'mean': EMA}}, "teachers.mean: the resumed checkpoint holds 'teacher' instead of 'mean'"),
    ],
)
def test_another_teacher_in_the_checkpoint_is_one_sentence(
    tmp_path: Path, teacher: dict[str, Any], sentence: str
) -> None:
    losses_of(tmp_path / 'run', [DistillHook({'gap': GAP}, EMA)], epochs=1)
    with pytest.raises(ConfigError, match=sentence):
        losses_of(tmp_path / 'run', [DistillHook({'gap': GAP}, **teacher)], epochs=2, resume=True)


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path: Path) -> None:
    losses_of(tmp_path / 'run', [DistillHook({'gap': GAP}, EMA)], epochs=1)
    path = tmp_path / 'run' / 'epoch_1.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['distill']['teacher'] = checkpoint['distill'].pop('teachers')['teacher']['state']
    torch.save(checkpoint, path)
    with pytest.raises(KDPluginsError, match="no readable entry 'distill.teachers', as one of another version"):
        losses_of(tmp_path / 'run', [DistillHook({'gap': GAP}, EMA)], epochs=2, resume=True)


def test_loops_of_iterations_have_epochs(tmp_path: Path) -> None:
    snapshot, average = (
        DistillHook({'gap': GAP}, SNAPSHOT),
        DistillHook({'gap': GAP}, {**EMA, 'begin': 1, 'by_epoch': True}),
    )
    for name, distill in (('snapshot', snapshot), ('average', average)):
        losses = losses_of(tmp_path / name, [distill], default_hooks=dict(checkpoint=None), **ITERATIONS)
        gaps = [step['distill.gap.loss_gap'] for step in losses]
        assert gaps[:4] == [0.0] * 4 and all(gap > 0 for gap in gaps[5:8]), name
    assert snapshot.teachers['teacher'].finished == 2


def test_loops_of_iterations_resume_within_an_epoch(tmp_path: Path) -> None:
    def run(folder: Path, **settings: Any) -> list[dict[str, float]]:
        saving = dict(checkpoint=dict(type='CheckpointHook', interval=6, by_epoch=False))
        hook = DistillHook({'gap': GAP}, {**SNAPSHOT, 'epochs': 2})
        return losses_of(folder, [hook], default_hooks=saving, **{**ITERATIONS, **settings})

    run(tmp_path / 'cut', stop_at=7)
    resumed = run(tmp_path / 'cut', resume=True)
    gaps = [step['distill.gap.loss_gap'] for step in resumed]
    assert len(gaps) == 4 and gaps[:2] == [0.0, 0.0] and all(gap > 0 for gap in gaps[2:])


@pytest.mark.parametrize(
    ('teacher', 'settings', 'sentence'),
    [
        ({**EMA, 'begin': 8}, {}, 'teacher.begin is 8 iterations and the run ends after 8, .* nearest: begin=7'),
        ({**EMA, 'begin': 2, 'by_epoch': True}, {}, 'teacher.begin is 2 epochs and the run ends after 2'),
        ({**SNAPSHOT, 'epochs': 2}, {}, 'teacher.epochs is 2 and the run has 2 epochs of 4 iterations, 0 of them'),
        ({**SNAPSHOT, 'epochs': 3}, ITERATIONS, 'teacher.epochs is 3 and the run has 2.5 epochs of 4 iterations'),
    ],
)
def test_a_teacher_that_would_never_be_ready_is_refused(
    tmp_path: Path, teacher: dict[str, Any], settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        losses_of(tmp_path / 'run', [DistillHook({'gap': GAP}, teacher)], **settings)


def test_a_stream_of_data_has_no_epochs(tmp_path: Path) -> None:
    class Stream(torch.utils.data.IterableDataset[dict[str, torch.Tensor]]):
        def __iter__(self) -> Any:
            while True:
                yield {'inputs': torch.zeros(2)}

    settings = {
        **ITERATIONS,
        'train_dataloader': torch.utils.data.DataLoader(Stream(), batch_size=2),
        'default_hooks': dict(checkpoint=None, logger=None),
    }
    with pytest.raises(ConfigError, match='teacher: SnapshotTeacher counts epochs, and train_dataloader has no length'):
        losses_of(tmp_path / 'snapshot', [DistillHook({'gap': GAP}, SNAPSHOT)], **settings)
    assert len(losses_of(tmp_path / 'average', [DistillHook({'gap': GAP}, EMA)], **settings)) == 10


def test_an_average_follows_optimizer_steps(tmp_path: Path) -> None:
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=4)
    distill = DistillHook({'gap': GAP}, EMA)
    losses_of(tmp_path / 'run', [distill], epochs=2, optim_wrapper=wrapper)
    assert distill.teachers['teacher'].updates == 2


class NormStudent(TinyStudent):
    """A student with BatchNorm in the part that is checkpointed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))


MODELS.register_module(module=NormStudent, name='TeachingNormStudent', force=True)


def test_activation_checkpointing_leaves_the_teacher_its_own_forward(tmp_path: Path) -> None:
    class Compare(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            teacher = distill.teachers['teacher'].model
            inputs = torch.ones(2, 2)
            student = runner.model.eval()
            equal.append(torch.equal(teacher(inputs), student(inputs)))
            runner.model.train()
            tracked.append(int(student.first[1].num_batches_tracked))

    equal: list[bool] = []
    tracked: list[int] = []
    distill = DistillHook({'gap': GAP}, SLOW)
    model = dict(type='TeachingNormStudent')
    config = dict(model=model, activation_checkpointing=['first'])
    make_runner(tmp_path / 'run', [Compare(), distill], epochs=1, model=model, cfg=config).train()
    assert equal == [False] * 4, 'the teacher runs its own layers'
    assert tracked == [1, 2, 3, 4], 'the statistics of the student move once per step'
