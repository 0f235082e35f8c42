"""Unlabelled images in short runs: when they are read, what they change, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from torch import Tensor, nn

from kd_plugins.distillers import FeatureDistiller
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.hooks.observer import StepObserver, StepReport
from kd_plugins.hooks.unlabelled import Unlabelled, check_student
from kd_plugins.registry import MODELS
from kd_plugins.utils.build import build
from kd_plugins.utils.safe_load import load_safely
from tests.hooks.tiny_runs import ADAPTED, EMA, GAP, TinyGap, TinyStudent, losses_of, make_runner
from tests.hooks.unlabelled_runs import NOISE, ON, ROUNDED, BrokenPoints, NormedStudent, OtherPoints, images
from tests.ranks import on_two_ranks

KEY = 'distill.other.loss_gap'
RISING = {'type': 'kd_plugins.LinearWarmup', 'value': 2.0, 'begin': 2, 'end': 4}


def hook(unlabelled: dict[str, Any] | None = None, other: dict[str, Any] = ON, **options: Any) -> DistillHook:
    """Return a hook with a distiller on labelled images, and one on others."""
    unlabelled = images() if unlabelled is None else unlabelled
    return DistillHook({'gap': ADAPTED, 'other': other}, EMA, unlabelled=unlabelled, **options)


def trained(work_dir: Path, hooks: list[Any], **settings: Any) -> tuple[list[Any], dict[str, Any]]:
    """Train a student with BatchNorm for two epochs; return its task losses and its checkpoint."""
    torch.manual_seed(1)
    losses = losses_of(work_dir, hooks, model=NormedStudent(), **settings)
    return [step['loss_task'] for step in losses], load_safely(work_dir / 'epoch_2.pth')


def test_a_weight_of_zero_is_a_plain_run_and_reads_no_image(tmp_path: Path) -> None:
    plain, expected = trained(tmp_path / 'plain', [])
    off = DistillHook(
        {'other': {**ON, 'adapter': True}}, EMA, unlabelled=images(OtherPoints(tmp_path / 'reads'), weight=0)
    )
    losses, checkpoint = trained(tmp_path / 'off', [off])
    assert losses == plain and not (tmp_path / 'reads').exists()
    assert checkpoint['state_dict'].keys() == expected['state_dict'].keys()
    for name, value in expected['state_dict'].items():
        assert torch.equal(checkpoint['state_dict'][name], value), name


def test_a_run_is_plain_until_the_weight_rises(tmp_path: Path) -> None:
    plain, _ = trained(tmp_path / 'plain', [])
    late = DistillHook({'other': ON}, EMA, unlabelled=images(weight=RISING, statistics='both'))
    losses, _ = trained(tmp_path / 'late', [late])
    # The weight is above 0 from the fourth iteration on, and acts on the losses of the fifth.
    assert losses[:4] == plain[:4] and losses[4:] != plain[4:]


def test_the_weight_of_a_term_is_a_product(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    distill = hook(images(weight=RISING), {**ON, 'weight': 3.0})
    distill.subscribe(reports.append)
    losses = losses_of(tmp_path / 'run', [distill])
    weights = {term.key: [] for term in reports[0].terms}
    for report in reports:
        for term in report.terms:
            weights[term.key].append(term.weight)
    assert weights[KEY] == [0.0, 0.0, 0.0, 3.0, 6.0, 6.0, 6.0, 6.0] and weights['distill.gap.loss_gap'] == [1.0] * 8
    assert [step[KEY] > 0 for step in losses] == [False] * 3 + [True] * 5
    assert [report.unlabelled is None for report in reports] == [True] * 3 + [False] * 5
    last = reports[-1]
    assert last.batch_of(last.terms[0]) is last.batch and last.batch_of(last.terms[1]) is last.unlabelled


def test_images_are_read_at_their_iteration(tmp_path: Path) -> None:
    class Reads(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            assert distill.unlabelled is not None
            seen.append(distill.unlabelled.batch)

    seen: list[Any] = []
    distill = hook(images(weight=RISING))
    losses_of(tmp_path / 'run', [distill, Reads()])
    stream = Unlabelled(images())
    stream.open(3)
    assert seen[:3] == [None] * 3
    for iteration in range(3, 8):
        stream.fetch(iteration)
        assert torch.equal(stream.batch['inputs'], seen[iteration]['inputs'])
    assert distill.unlabelled is not None and distill.unlabelled.stream is None, 'closed after training'


def test_a_resumed_run_sees_the_same_images_and_views(tmp_path: Path) -> None:
    def hooks() -> list[Any]:
        view = {**NOISE, 'on': ('labelled', 'unlabelled')}
        unlabelled = images(weight=RISING, pseudo=ROUNDED)
        return [EpochSeedHook(), hook(unlabelled, {**ON, 'adapter': True}, student_view=view)]

    def student() -> NormedStudent:
        torch.manual_seed(1)
        return NormedStudent()

    whole = losses_of(tmp_path / 'whole', hooks(), model=student(), epochs=3)
    losses_of(tmp_path / 'cut', hooks(), stop_at=6, model=student(), epochs=3)
    assert losses_of(tmp_path / 'cut', hooks(), model=student(), epochs=3, resume=True) == whole[4:]
    assert {'distill.gap.loss_gap', KEY, 'distill.pseudo.loss_task'} <= whole[0].keys()


@pytest.mark.parametrize('statistics', ['labelled', 'both'])
def test_running_statistics(tmp_path: Path, statistics: str) -> None:
    # The terms weigh nearly nothing, so that only the statistics can differ.
    other = {**ON, 'weight': 1e-30}
    plain = trained(tmp_path / 'plain', [])[1]['state_dict']
    distill = DistillHook({'other': other}, EMA, unlabelled=images(statistics=statistics))
    state = trained(tmp_path / 'run', [distill])[1]['state_dict']
    torch.testing.assert_close(state['first.weight'], plain['first.weight'])
    moved = not torch.equal(state['norm.running_mean'], plain['norm.running_mean'])
    assert moved == (statistics == 'both')
    assert int(state['norm.num_batches_tracked']) == (16 if statistics == 'both' else 8)
    assert state.keys() == NormedStudent().state_dict().keys()


def test_losses_on_pseudo_labels_join(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    distill = DistillHook({}, EMA, unlabelled=images(weight=RISING, pseudo=ROUNDED))
    distill.subscribe(reports.append)
    losses = losses_of(tmp_path / 'run', [distill], model=NormedStudent())
    (term,) = reports[-1].terms
    assert (term.key, term.weight) == ('distill.pseudo.loss_task', 2.0) and term.raw.requires_grad
    values = [step['distill.pseudo.loss_task'] for step in losses]
    assert values[:3] == [0.0] * 3 and all(value > 0 for value in values[3:])
    assert load_safely(tmp_path / 'run' / 'epoch_2.pth')['distill']['pseudo'] == {'calls': 5}


def test_pseudo_labels_wait_for_their_teacher(tmp_path: Path) -> None:
    distill = DistillHook({}, {**EMA, 'begin': 5}, unlabelled=images(pseudo=ROUNDED))
    values = [step['distill.pseudo.loss_task'] for step in losses_of(tmp_path / 'r', [distill], model=NormedStudent())]
    assert values[:5] == [0.0] * 5 and all(value > 0 for value in values[5:])


@pytest.mark.parametrize(
    'unlabelled, message',
    [
        (
            images(pseudo=ROUNDED),
            r'^unlabelled\.pseudo: CutMix mixes maps of the teacher and no labels; give',
        ),
        (images(batch_size=1), r'^unlabelled\.dataloader\.batch_size is 1, and CutMix mixes the images of a batch'),
    ],
)
def test_a_view_that_mixes_images(unlabelled: dict[str, Any], message: str) -> None:
    view = {'type': 'kd_plugins.CutMix'}
    assert 'unlabelled' in hook(images(), student_view=view).views
    with pytest.raises(ConfigError, match=message):
        hook(unlabelled, student_view=view)


def test_commands_that_inspect_a_run_see_both_passes(tmp_path: Path) -> None:
    observer = StepObserver(runs_all=True)
    distill = hook(images(weight=0.0, pseudo=ROUNDED))
    distill.subscribe(observer)
    losses_of(tmp_path / 'run', [distill], epochs=1, model=NormedStudent())
    assert observer.report is not None
    assert [term.key for term in observer.report.terms] == ['distill.gap.loss_gap', KEY, 'distill.pseudo.loss_task']
    assert all(term.raw.requires_grad and term.raw > 0 for term in observer.report.terms)
    assert observer.report.student_shapes == {'second': [(2, 3)]}


def test_mixed_precision_and_accumulation(tmp_path: Path) -> None:
    wrapper = dict(type='CpuAmpOptimWrapper', optimizer=dict(type='SGD', lr=0.01), accumulative_counts=2)
    precisions: list[tuple[str, torch.dtype]] = []

    class Watched(NormedStudent):
        def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
            if self.training and torch.is_grad_enabled():
                precisions.append((mode, self.first(inputs).dtype))
            return super().forward(inputs, data_samples, mode)

    distill = hook(images(pseudo=ROUNDED), {**ON, 'adapter': True})
    losses = losses_of(tmp_path / 'run', [distill], model=Watched(), optim_wrapper=wrapper)
    assert precisions == [('loss', torch.bfloat16)] * 16 and all(step[KEY] > 0 for step in losses)


def test_errors_of_the_data_name_the_loader(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'unlabelled\.dataloader: .*point \d is damaged'):
        losses_of(tmp_path / 'run', [hook(images(BrokenPoints()))])
    with pytest.raises(ConfigError, match=r'unlabelled\.dataloader\.batch_size is 0'):
        losses_of(tmp_path / 'size', [hook(images(batch_size=0))])


def test_a_weight_that_begins_after_the_end_is_refused(tmp_path: Path) -> None:
    late = {'type': 'kd_plugins.LinearWarmup', 'value': 1.0, 'begin': 50, 'end': 60}
    with pytest.raises(ConfigError, match=r'unlabelled\.weight begins at iteration 50, and the run has 8 iterations'):
        losses_of(tmp_path / 'run', [DistillHook({'other': ON}, EMA, unlabelled=images(weight=late))])


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ({'distillers': {'a': {**GAP, 'on': 'unlabeled'}}}, "distillers.a.on is 'unlabeled'; nearest: 'unlabelled'"),
        ({'distillers': {'a': ON}}, "distillers.a.on is 'unlabelled', but default_hooks.distill.unlabelled is None"),
        (
            {'distillers': {'a': GAP}, 'unlabelled': images()},
            "no distiller has on='unlabelled' and unlabelled.pseudo is None.*nearest: distillers.a.on='unlabelled'",
        ),
        (
            {'distillers': {'a': GAP}, 'student_view': NOISE},
            "student_view.on holds 'unlabelled', but default_hooks.distill.unlabelled is None",
        ),
        (
            {'distillers': {'a': GAP}, 'student_view': {'unlabelled': NOISE}},
            'student_view.unlabelled is a view, but default_hooks.distill.unlabelled is None',
        ),
        ({'distillers': {'a': GAP}, 'student_view': GAP}, "student_view.type is 'kd_plugins.TinyGap', which is not a"),
        ({'distillers': {'a': ON}, 'unlabelled': 3}, 'default_hooks.distill.unlabelled is 3; give dict'),
        ({'distillers': {'a': ON}, 'unlabelled': {}}, 'default_hooks.distill.unlabelled has no dataloader'),
        (
            {'distillers': {'a': ON}, 'unlabelled': {'dataloader': b'x'}},
            "unlabelled.dataloader is b'x'; give dict",
        ),
        (
            {'distillers': {'a': ON}, 'unlabelled': images(weigth=1.0)},
            "default_hooks.distill.unlabelled has no setting 'weigth'; nearest: 'weight'",
        ),
        (
            {'distillers': {'a': ON}, 'unlabelled': images(statistics='none')},
            "unlabelled.statistics is 'none'; valid: 'labelled', 'both'",
        ),
        ({'distillers': {'a': ON}, 'unlabelled': images(weight=-1.0)}, "unlabelled.weight: 'Constant.value' is -1.0"),
        ({'distillers': {'a': ON}, 'unlabelled': images(pseudo=3)}, 'unlabelled.pseudo is 3; give a dict'),
        (
            {'distillers': {'pseudo': ON}, 'unlabelled': images(pseudo=ROUNDED)},
            "the name 'pseudo' is that of the losses on pseudo labels",
        ),
        (
            {'distillers': {}, 'unlabelled': images(pseudo=ROUNDED), 'teacher': None},
            'unlabelled.pseudo: the student has no teacher that predicts labels',
        ),
        (
            {'distillers': {}, 'unlabelled': images(pseudo={**ROUNDED, 'source': 'big'})},
            "unlabelled.pseudo.source is 'big'",
        ),
    ],
)
def test_sentences(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DistillHook(**{'teacher': EMA, **arguments})


HEATMAPS = {'type': 'kd_plugins.HeatmapDistiller', 'on': 'unlabelled'}
LOGITS = {'type': 'kd_plugins.LogitDistiller', 'on': 'unlabelled'}
PIXELS = {**LOGITS, 'activation': 'softmax', 'beta': 2.0}
EDGES = {'type': 'kd_plugins.LocalizationDistiller', 'on': 'unlabelled'}
LEVELS = {'type': 'kd_plugins.DualSelfDistiller', 'on': 'unlabelled', 'encoder': 'backbone'}


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        ({**LOGITS, 'trust': 'truth'}, "trust='truth' compares with labels; use trust='teacher'"),
        ({**PIXELS, 'divergence': 'nkd'}, "divergence='nkd' divides the classes by the label; use divergence='kl'"),
        ({'type': 'kd_plugins.BoxDistiller', 'on': 'unlabelled', 'trust': 'truth'}, "trust='truth' compares with"),
        ({**EDGES, 'trust': 'truth'}, "trust='truth' compares with labels"),
        (EDGES, 'loss_ld is that of locations in labelled boxes; use select'),
        ({**HEATMAPS, 'visible_only': True}, 'visible_only=True reads which joints are labelled'),
        ({**HEATMAPS, 'trust': 'truth'}, "trust='truth' compares with labels; use trust=None"),
        ({'type': 'kd_plugins.USKDDistiller', 'on': 'unlabelled'}, 'USKDDistiller teaches by labels'),
        (LEVELS, "encoder_supervision='.*' learns from labels; use encoder_supervision='none'"),
    ],
)
def test_a_setting_that_reads_labels_is_refused_on_images_without(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"distillers.a.on is 'unlabelled', and {sentence}"):
        DistillHook({'a': config}, EMA, unlabelled=images())


@pytest.mark.parametrize(
    'config',
    [
        LOGITS,
        {**EDGES, 'select': {'ratio': 0.01}},
        {**EDGES, 'positive_weight': 0.0},
        {**LEVELS, 'encoder_supervision': 'none'},
        {**HEATMAPS, 'select': {'score': 0.3}},
    ],
)
def test_settings_without_labels_are_not_refused(config: dict[str, Any]) -> None:
    DistillHook({'a': config}, EMA, unlabelled=images())


def test_pseudo_labels_are_labels_for_distillers() -> None:
    DistillHook({'a': {**HEATMAPS, 'visible_only': True}}, EMA, unlabelled=images(pseudo=ROUNDED))


def test_every_distiller_takes_on() -> None:
    config = {'type': 'kd_plugins.FeatureDistiller', 'student_tap': 'neck', 'on': 'unlabelled'}
    assert build(MODELS, config, FeatureDistiller, 'distillers.a').on == 'unlabelled'
    assert TinyGap().on == 'labelled'


def test_a_teacher_of_pseudo_labels_alone_is_built() -> None:
    distill = DistillHook({}, EMA, unlabelled=images(pseudo=ROUNDED))
    assert list(distill.teachers) == ['teacher']


def test_detectors_that_need_labels_are_refused() -> None:
    student = type('DINO', (type('DeformableDETR', (nn.Module,), {}),), {})()
    with pytest.raises(ConfigError, match=r"DINO cannot run with mode='tensor' in training.*unlabelled\.pseudo"):
        check_student(student, Unlabelled(images()))
    check_student(student, Unlabelled(images(pseudo=ROUNDED)))
    check_student(TinyStudent(), Unlabelled(images()))


def halves(work_dir: Path, batch_size: int) -> dict[str, Any]:
    """Train with a batch of this size on each rank."""
    settings: dict[str, Any] = {}
    if dist.is_initialized():
        wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
        settings = dict(launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
    torch.manual_seed(1)
    student = TinyStudent()
    student.dropout.p = 0.0
    distill = hook(images(batch_size=batch_size, weight=RISING), {**ON, 'adapter': True})
    runner = make_runner(work_dir, [distill], model=student, **settings)
    runner._train_dataloader['batch_size'] = batch_size
    runner.train()
    model = runner.model.module if dist.is_initialized() else runner.model
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.distributed
def test_two_ranks_with_half_the_images_equal_one(tmp_path: Path) -> None:
    expected = halves(tmp_path / 'one', 4)
    plain = TinyStudent().state_dict()
    for state in on_two_ranks(tmp_path, halves, tmp_path / 'two', 2):
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
    assert not torch.equal(expected['first.weight'], plain['first.weight'])
