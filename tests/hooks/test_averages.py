"""A teacher that is the average of the run's EMAHook: equal outputs, one copy, resuming and what is refused."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import METRICS, MODELS
from torch import nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook, EpochSeedHook, FittedEMAHook
from kd_plugins.hooks.averages import LEAST_DECAY, AverageCheck, start_decay
from tests.hooks.tiny_runs import (
    EMA,
    GAP,
    ITERATIONS,
    Points,
    Recorder,
    TinyStudent,
    loader_of,
    losses_of,
    make_runner,
)

SHARED: dict[str, Any] = {'type': 'kd_plugins.EMATeacher', 'share': 'EMAHook'}


class InitStudent(TinyStudent):
    """A student whose weights are set after the hooks have copied it, as ImageNet weights are."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def init_weights(self) -> None:
        nn.init.constant_(self.first.weight, 0.5)
        nn.init.constant_(self.second.weight, 0.25)

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = self.norm(self.second(self.dropout(self.first(inputs).relu())))
        return {'loss_task': outputs.sub(1).square().mean()} if mode == 'loss' else outputs


@METRICS.register_module(force=True)
class AveragesNothing(BaseMetric):
    """A metric that measures nothing."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'count': float(len(results))}


class Compare(Hook):
    """Keep the teacher's and the average's outputs at the begin of every iteration."""

    def __init__(self, distill: DistillHook, average: EMAHook) -> None:
        self.distill, self.average = distill, average
        self.pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        inputs = torch.ones(2, 2)
        teacher = self.distill.teachers['teacher'].model
        reference = InitStudent().eval()
        reference.load_state_dict(self.average.ema_model.module.state_dict())
        with torch.no_grad():
            student = runner.model.eval()(inputs)
            self.pairs.append((teacher.eval()(inputs), reference(inputs), student))
        runner.model.train()


@pytest.mark.parametrize('buffers', [False, True])
def test_the_teacher_is_the_average_of_the_hook_also_after_validation(tmp_path: Path, buffers: bool) -> None:
    distill = DistillHook({'gap': GAP}, SHARED)
    average = EMAHook(momentum=0.3, update_buffers=buffers)
    compare = Compare(distill, average)

    validation: dict[str, Any] = dict(
        val_dataloader=loader_of(Points()),
        val_cfg=dict(),
        val_evaluator=dict(type='AveragesNothing'),
    )
    runner = make_runner(tmp_path / 'run', [average, distill, compare], model=InitStudent(), **validation)
    runner.train()
    assert len(compare.pairs) == 8
    for teacher, expected, _ in compare.pairs:
        assert torch.equal(teacher, expected)
    first, last = compare.pairs[0], compare.pairs[-1]
    assert torch.equal(first[0], first[2]), 'in the first iteration the average is the student with its initial weights'
    assert not torch.equal(last[0], last[2])
    saved = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=False)
    assert saved['distill']['teachers']['teacher']['state'] == {}
    averaged = average.ema_model.module.state_dict()
    assert all(torch.equal(saved['state_dict'][name], tensor) for name, tensor in averaged.items())


def test_there_is_one_copy_of_the_weights(tmp_path: Path) -> None:
    class Look(Hook):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            network = average.ema_model.module
            assert distill.teachers['teacher'].model is network
            pairs = zip(distill.teachers['teacher'].model.parameters(), network.parameters())
            seen.append(all(mine.data_ptr() == theirs.data_ptr() for mine, theirs in pairs))

    seen: list[bool] = []
    distill, average = DistillHook({'gap': GAP}, SHARED), EMAHook(momentum=0.3)
    losses_of(tmp_path / 'run', [Look(), distill, average])
    assert seen == [True] * 8
    assert not any(module._forward_hooks for module in average.ema_model.module.modules()), 'nothing stays attached'


def test_an_interrupted_run_goes_on_in_the_same_process(tmp_path: Path) -> None:
    """The hook of the average copies the student again, which must have lost the hooks of distillation by then."""
    distill, recorder = DistillHook({'gap': GAP}, SHARED), Recorder(stop_at=5)
    runner = make_runner(tmp_path / 'run', [distill, EMAHook(momentum=0.3), recorder])
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    recorder.stop_at = None
    runner.train()
    assert runner.iter == 8 and recorder.losses[-1]['distill.gap.loss_gap'] > 0


def test_the_average_is_that_of_a_run_without_a_teacher(tmp_path: Path) -> None:
    averages = [EMAHook(momentum=0.3) for _ in range(2)]
    losses_of(tmp_path / 'plain', [averages[0]])
    losses_of(tmp_path / 'taught', [averages[1], DistillHook({'gap': {**GAP, 'weight': 0.0}}, SHARED)])
    first, second = (average.ema_model.state_dict() for average in averages)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_resumed_run_continues_equal(tmp_path: Path) -> None:
    def run(folder: Path, **settings: Any) -> list[dict[str, float]]:
        hooks = [EpochSeedHook(), EMAHook(momentum=0.3), DistillHook({'gap': GAP}, {**SHARED, 'begin': 2})]
        return losses_of(folder, hooks, epochs=3, **settings)

    whole = run(tmp_path / 'whole')
    run(tmp_path / 'cut', stop_at=6)
    assert run(tmp_path / 'cut', resume=True) == whole[4:]
    gaps = [step['distill.gap.loss_gap'] for step in whole]
    assert gaps[:2] == [0.0, 0.0] and all(gap > 0 for gap in gaps[3:])


@pytest.mark.parametrize(
    ('teacher', 'hooks', 'sentence'),
    [
        (SHARED, [], r"teacher.share is 'EMAHook', and the run has no EMAHook; nearest: custom_hooks=\[dict"),
        (SHARED, [{}, {}], 'the run has 2 EMAHooks'),
        (SHARED, [{'begin_iter': 3}], 'teacher.begin is iteration 0, .* begins at iteration 3, .* nearest: begin=3'),
        ({**SHARED, 'begin': 3}, [{'begin_epoch': 2}], 'begins at iteration 4, .* nearest: begin=4'),
        (
            {**SHARED, 'begin': 1, 'by_epoch': True},
            [{'begin_iter': 6}],
            'teacher.begin is epoch 1, .* begins at iteration 6, .* nearest: begin=2',
        ),
    ],
)
def test_averages_that_do_not_fit(
    tmp_path: Path, teacher: dict[str, Any], hooks: list[dict[str, Any]], sentence: str
) -> None:
    distill = DistillHook({'gap': GAP}, teacher)
    with pytest.raises(ConfigError, match=sentence):
        losses_of(tmp_path / 'run', [*(EMAHook(**settings) for settings in hooks), distill])


def test_begins_that_fit(tmp_path: Path) -> None:
    for name, hook, begin in (('iter', {'begin_iter': 3}, 3), ('epoch', {'begin_epoch': 2}, 4)):
        distill = DistillHook({'gap': GAP}, {**SHARED, 'begin': begin})
        gaps = [step['distill.gap.loss_gap'] for step in losses_of(tmp_path / name, [distill, EMAHook(**hook)])]
        assert gaps[:begin] == [0.0] * begin and all(gap > 0 for gap in gaps[begin + 1 :]), name
    iterations = {**ITERATIONS, 'default_hooks': dict(checkpoint=None)}
    assert losses_of(tmp_path / 'loop', [DistillHook({'gap': GAP}, SHARED), EMAHook(begin_epoch=1)], **iterations)


def test_another_kind_of_average_in_the_checkpoint(tmp_path: Path) -> None:
    losses_of(tmp_path / 'run', [EMAHook(), DistillHook({'gap': GAP}, SHARED)], epochs=1)
    with pytest.raises(ConfigError, match=r"teacher.share is None, .* it was 'EMAHook'; resume with share='EMAHook'"):
        losses_of(tmp_path / 'run', [EMAHook(), DistillHook({'gap': GAP}, EMA)], epochs=2, resume=True)


class Records(logging.Handler):
    """Keep the sentences of a log."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())


def test_copied_statistics_are_a_warning(tmp_path: Path) -> None:
    for name, settings, expected in (('copied', {}, True), ('averaged', {'update_buffers': True}, False)):
        runner = make_runner(
            tmp_path / name,
            [EMAHook(**settings), DistillHook({'gap': GAP}, SHARED)],
            epochs=1,
            model=InitStudent(),
            log_level='WARNING',
        )
        handler = Records()
        runner.logger.addHandler(handler)
        runner.train()
        assert any('update_buffers=True averages both' in record for record in handler.sentences) == expected


@pytest.mark.parametrize(
    ('kind', 'settings', 'updates', 'expected'),
    [
        ('ExponentialMovingAverage', {'momentum': 1e-4}, 468, 467e-4),
        ('ExponentialMovingAverage', {'momentum': 0.02}, 5000, -4999 * math.log(0.98)),
        ('StochasticWeightAverage', {}, 100_000, math.log(100_000)),
    ],
)
def test_what_is_left_of_the_start_is_that_of_the_averages_own_function(
    kind: str, settings: dict[str, Any], updates: int, expected: float
) -> None:
    average = MODELS.build({'type': kind, 'model': nn.Linear(1, 1), **settings})
    assert start_decay(average, updates) == pytest.approx(expected, rel=2e-3)
    if updates < 1000:
        model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(model.weight)
        average = MODELS.build({'type': kind, 'model': model, **settings})
        for _ in range(updates):
            average.update_parameters(model)
            nn.init.zeros_(model.weight)
        assert -math.log(float(average.module.weight)) == pytest.approx(expected, rel=1e-3)


def test_a_warm_up_forgets_the_start() -> None:
    pytest.importorskip('mmdet')
    from mmdet.models.layers import ExpMomentumEMA

    assert start_decay(ExpMomentumEMA(nn.Linear(1, 1), momentum=1e-4, gamma=1000), 468) > LEAST_DECAY


def warnings_of(work_dir: Path, caplog: pytest.LogCaptureFixture, hook: Hook, **settings: Any) -> list[str]:
    runner = make_runner(work_dir, [hook, AverageCheck()], log_level='WARNING', **settings)
    runner.logger.addHandler(caplog.handler)
    runner.train()
    runner.logger.removeHandler(caplog.handler)  # pytest has one for all tests
    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [text for text in texts if 'average' in text]


def test_a_run_warns_of_an_average_that_stays_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (sentence,) = warnings_of(tmp_path / 'slow', caplog, EMAHook(momentum=1e-3), epochs=10)
    assert sentence == (
        'EMAHook.momentum is 0.001 and the run has 40 updates of the average, which still holds 96% of the first '
        'weights at the end, so validations measure hardly trained weights; nearest: momentum=0.25, or '
        "type='kd_plugins.FittedEMAHook'."
    )


def test_a_run_with_a_fitting_average_does_not_warn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(tmp_path / 'good', caplog, EMAHook(momentum=0.25), epochs=10) == []
    fitted = FittedEMAHook('ExponentialMovingAverage', gamma=None)
    assert warnings_of(tmp_path / 'fitted', caplog, fitted, epochs=10) == []
    late = EMAHook(momentum=0.25, begin_iter=36)
    assert 'has 4 updates' in warnings_of(tmp_path / 'late', caplog, late, epochs=10)[0]
