"""The second stage: a part restarts, the rest is frozen, and the finished model teaches."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.registry import MODEL_WRAPPERS, MODELS
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.averages import restart_averages
from kd_plugins.hooks.restart import Restart, frozen_modules
from kd_plugins.losses import softmax_kl_loss
from kd_plugins.utils.safe_load import load_safely

from ..integration.runs import LD, Recorder, assert_same, make_runner, model_config, weights
from ..ranks import on_two_ranks
from . import tiny_runs

FINISHED = {'type': 'kd_plugins.FinishedTeacher'}
LOGITS = {'type': 'kd_plugins.LogitDistiller', 'logits': 'bbox_head.gfl_cls', 'activation': 'softmax'}
TWO = {'localization': LD, 'logits': LOGITS}
ONLY_DISTILLED = {'restart': {'parts': ['bbox_head']}, 'task_weight': 0.0}


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checkpoint of a model that was trained for an epoch."""
    work_dir = tmp_path_factory.mktemp('finished') / 'run'
    make_runner(work_dir, epochs=1).train()
    return str(work_dir / 'epoch_1.pth')


def second_stage(work_dir: Path, checkpoint: str | None, **options: Any) -> tuple[Any, list[dict[str, float]]]:
    recorder = Recorder(options.pop('kill_at', None))
    settings = {'distill': ONLY_DISTILLED, 'cfg': {'model': model_config()}, 'load_from': checkpoint, **options}
    teacher = settings.pop('teacher', FINISHED)
    hooks = [recorder, *settings.pop('hooks', [])]
    runner = make_runner(work_dir, settings.pop('distillers', TWO), teacher, hooks=hooks, **settings)
    runner.train()
    return runner, recorder.losses


def hook_of(runner: Any) -> Any:
    return next(hook for hook in runner.hooks if type(hook).__name__ == 'DistillHook')


def head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith('bbox_head.')}


def rest(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith('bbox_head.')}


def test_everything_but_the_part_stays_bit_identical(tmp_path: Path, finished: str) -> None:
    before = load_safely(finished)['state_dict']
    seen: list[dict[str, Tensor]] = []

    class Watch(Recorder):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            seen.append(weights(hook_of(runner).teachers['teacher'].model))

    runner, losses = second_stage(tmp_path / 'run', finished, hooks=[Watch()])
    assert_same(rest(weights(runner.model)), rest(before))
    assert_same(seen[-1], before)
    assert all(param.requires_grad for name, param in runner.model.named_parameters() if 'layer2' in name), 'released'
    saved = load_safely(tmp_path / 'run' / 'epoch_2.pth')
    MODELS.build(model_config()).load_state_dict(saved['state_dict'], strict=True)
    assert not any(torch.equal(v, before[k]) for k, v in head(saved['state_dict']).items() if k.endswith('conv.weight'))
    state = saved['distill']['teachers']['teacher']['state']
    assert state['model'].keys() == head(before).keys(), 'only what restarted is kept'
    assert losses[-1]['distill.logits.loss_logit'] < losses[0]['distill.logits.loss_logit']
    assert losses[0]['task.cls'] > 0 and losses[0]['loss'] == pytest.approx(
        sum(value for key, value in losses[0].items() if key.startswith('distill'))
    )


def test_first_losses_equal_two_separate_models(tmp_path: Path, finished: str) -> None:
    """The teacher and the student with shared modules against two whole models."""
    before = load_safely(finished)['state_dict']
    outputs: dict[str, list[Tensor]] = {'student': [], 'teacher': []}

    class Watch(Recorder):
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            if runner.iter == 0:
                models = {'student': copy.deepcopy(runner.model), 'teacher': MODELS.build(model_config())}
                models['teacher'].load_state_dict(before)
                data = runner.model.data_preprocessor(copy.deepcopy(data_batch), True)
                for role, model in models.items():
                    model.eval()  # heads have GroupNorm, and everything else is in eval mode in both
                    model.bbox_head.gfl_cls.register_forward_hook(
                        lambda m, a, out, role=role: outputs[role].append(out.detach())
                    )
                    model(data['inputs'], mode='tensor')

    _, losses = second_stage(tmp_path / 'run', finished, hooks=[Watch()], epochs=1)
    expected = softmax_kl_loss(outputs['student'], outputs['teacher'], 1.0, 1)
    assert losses[0]['distill.logits.loss_logit'] == pytest.approx(float(expected), rel=1e-5)


def test_backbone_runs_once_per_step(tmp_path: Path, finished: str) -> None:
    calls = {'stem': 0, 'head': 0}

    class Count(Recorder):
        def before_train(self, runner: Any) -> None:
            runner.model.backbone.conv1.register_forward_hook(lambda *args: calls.update(stem=calls['stem'] + 1))

        def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            teacher = hook_of(runner).teachers['teacher'].model
            assert teacher.backbone is runner.model.backbone and teacher.bbox_head is not runner.model.bbox_head
            assert not runner.model.backbone.training and runner.model.bbox_head.training
            assert 'forward' not in vars(runner.model.backbone)

    second_stage(tmp_path / 'run', finished, hooks=[Count()])
    assert calls['stem'] == 2 * 4


def test_interrupted_second_stage_resumes_exactly(tmp_path: Path, finished: str) -> None:
    whole, expected = second_stage(tmp_path / 'whole', finished, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        second_stage(tmp_path / 'cut', finished, epochs=3, kill_at=6)
    resumed, found = second_stage(tmp_path / 'cut', None, epochs=3, resume=True)
    assert found == expected[4:]
    assert_same(weights(resumed.model), weights(whole.model))


def test_weights_alone_do_not_hold_the_finished_model(tmp_path: Path, finished: str) -> None:
    """Otherwise the student would teach itself."""
    with pytest.raises(KeyboardInterrupt):
        second_stage(tmp_path / 'cut', finished, epochs=3, kill_at=6)
    weights_only = load_safely(tmp_path / 'cut' / 'epoch_1.pth')
    torch.save({key: weights_only[key] for key in ('meta', 'state_dict', 'message_hub')}, tmp_path / 'weights.pth')
    with pytest.raises(ConfigError, match=r'teacher: the resumed checkpoint holds weights only, and not the finished'):
        second_stage(tmp_path / 'cut', str(tmp_path / 'weights.pth'), epochs=3, resume=True)


def test_average_starts_from_the_new_part(tmp_path: Path, finished: str) -> None:
    before = load_safely(finished)['state_dict']
    average = EMAHook(momentum=1e-6)
    seen: list[dict[str, Tensor]] = []

    class Watch(Recorder):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            seen.append(weights(runner.model))

    second_stage(tmp_path / 'run', finished, hooks=[average, Watch()], epochs=1)
    saved = load_safely(tmp_path / 'run' / 'epoch_1.pth')['state_dict']
    for name, value in head(seen[0]).items():
        # MMEngine's average takes the weights after the first step as its start.
        torch.testing.assert_close(saved[name], value, rtol=0, atol=1e-3)
    assert any(not torch.allclose(saved[name], before[name], atol=1e-2) for name in head(before))
    assert_same(rest(saved), rest(before))


@pytest.mark.parametrize('ema', [{'momentum': 1e-6}, {'share': 'EMAHook'}], ids=['own', 'shared'])
def test_an_averaging_teacher_starts_from_the_new_part(tmp_path: Path, ema: dict[str, Any]) -> None:
    torch.save({'state_dict': tiny_runs.TinyStudent().state_dict()}, tmp_path / 'finished.pth')
    ema = {'type': 'kd_plugins.EMATeacher', **ema}
    distill = DistillHook({'gap': tiny_runs.GAP}, ema, restart={'parts': ['second']}, checks={'data': False})
    seen: list[tuple[Tensor, Tensor]] = []

    class Watch(tiny_runs.Recorder):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            both = runner.model, distill.teachers['teacher'].model
            seen.append(tuple(model.second.weight.clone() for model in both))

    settings = {'cfg': {'model': {'type': 'kd_plugins.TinyStudent'}}, 'load_from': str(tmp_path / 'finished.pth')}
    average = EMAHook(momentum=1e-6)
    tiny_runs.losses_of(tmp_path / 'run', [average, distill, Watch()], epochs=1, **settings)
    new, average = seen[0]
    assert torch.equal(new, average)
    # The first update of EMAHook copies the student, and later ones hardly move the average.
    assert torch.equal(*seen[1]) is ('share' in ema) and not torch.equal(*seen[2])
    assert not torch.allclose(new, load_safely(tmp_path / 'finished.pth')['state_dict']['second.weight'])


def test_weight_of_the_task(tmp_path: Path, finished: str) -> None:
    settings = {'epochs': 1, 'distillers': {'localization': {**LD, 'weight': 0.0}}}
    plain = {'restart': {'parts': ['bbox_head']}}
    _, whole = second_stage(tmp_path / 'one', finished, distill=plain, **settings)
    _, half = second_stage(tmp_path / 'half', finished, distill={**plain, 'task_weight': 0.5}, **settings)
    assert whole[0].keys() == half[0].keys()
    assert half[0]['loss'] == pytest.approx(0.5 * whole[0]['loss'], rel=1e-6)
    assert half[0]['loss_cls'] == pytest.approx(0.5 * whole[0]['loss_cls'], rel=1e-6)


def test_restart_without_distillation_is_the_control(tmp_path: Path, finished: str) -> None:
    """Training the new head on the labels alone, as the ablation needs it."""
    runner, losses = second_stage(
        tmp_path / 'run', finished, distillers={}, teacher=None, distill={'restart': {'parts': ['bbox_head']}}
    )
    assert not any(key.startswith('distill') for key in losses[0])
    assert_same(rest(weights(runner.model)), rest(load_safely(finished)['state_dict']))


def test_new_weights_follow_the_seed_alone(tmp_path: Path, finished: str) -> None:
    states = []
    for name, seed in (('a', 5), ('b', 5), ('c', 6)):
        parts = {**ONLY_DISTILLED, 'restart': {'parts': ['bbox_head'], 'seed': seed}}

        class Watch(Recorder):
            def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
                if runner.iter == 0:
                    states.append(head(weights(runner.model)))

        second_stage(tmp_path / name, finished, epochs=1, distill=parts, hooks=[Watch()])
    assert_same(states[0], states[1])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'distill': {'restart': {'parts': ['bbox_heat']}}}, "'bbox_heat' names no module .*'bbox_head'"),
        ({'distill': {'restart': {'parts': 'bbox_head'}}}, r"parts is 'bbox_head'; give a list .*\['head'\]"),
        ({'distill': {'restart': {'part': ['bbox_head']}}}, "no argument 'part'; .*'parts'"),
        ({'distill': {'restart': ['bbox_head']}}, r'restart is .*give a dict'),
        ({'distill': {'restart': {'parts': []}}}, r'parts is \[\]'),
        ({'distill': {'restart': {'parts': 3}}}, r'^default_hooks\.distill\.restart\.parts is 3; give a list'),
        ({'distill': {'restart': {'parts': ['']}}}, r"^default_hooks\.distill\.restart\.parts is \[''\]; give a list"),
        ({'distill': {'restart': {'parts': ['bbox_head'], 'seed': -1}}}, r'restart\.seed is -1; valid: None, 0$'),
        ({'distill': {}}, 'restart is None; nearest: restart=dict'),
        ({'distill': {**ONLY_DISTILLED, 'task_weight': -1.0}}, 'task_weight is -1.0'),
        ({'load_from': None}, "load_from is None; set load_from .*'work_dirs/NAME/epoch_12.pth'"),
        ({'cfg': {}}, 'give model as a config'),
    ],
)
def test_what_cannot_restart_says_so(tmp_path: Path, finished: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        second_stage(tmp_path / 'run', finished, **options)


def test_an_average_of_a_resumed_run_begins_anew() -> None:
    """A run without distillation goes on with a restart: its average holds the part that is gone."""
    student = nn.Linear(1, 1)
    hook = EMAHook(momentum=0.5)
    hook.before_run(SimpleNamespace(model=student))
    hook.ema_model.update_parameters(student)
    nn.init.constant_(student.weight, 7.0)
    restart_averages(SimpleNamespace(hooks=[hook]), student)
    assert hook.ema_model.module.weight.item() == 7.0 and int(hook.ema_model.steps) == 0


def test_a_strategy_cannot_wrap_again() -> None:
    class Wrapped(nn.Module):
        pass

    MODEL_WRAPPERS.register_module(module=Wrapped, force=True)
    with pytest.raises(ConfigError, match="restart: runner_type is 'SimpleNamespace', .*nearest: 'Runner'$"):
        Restart.wrap(SimpleNamespace(model=Wrapped()), nn.Linear(1, 1))


def test_frozen_modules_of_nested_parts() -> None:
    model = nn.ModuleDict({'backbone': nn.Linear(1, 1), 'roi': nn.ModuleDict({'pool': nn.ReLU(), 'box': nn.ReLU()})})
    assert list(frozen_modules(model, ['roi.box'])) == ['backbone', 'roi.pool']
    assert list(frozen_modules(model, ['roi'])) == ['backbone']
    assert list(frozen_modules(model, ['roi', 'backbone'])) == []


def _both_ranks(work_dir: Path) -> dict[str, Any]:
    ranks = {'launcher': 'pytorch'}
    wrapper = {'model_wrapper_cfg': {'type': 'MMDistributedDataParallel', 'device_ids': None}}
    model = model_config(norm='GN')
    runner, losses = second_stage(
        work_dir / 'run',
        str(work_dir / 'first.pth'),
        epochs=1,
        batch_size=2,
        model=model,
        cfg={'model': model, **wrapper},
        **ranks,
    )
    return {'losses': losses, 'weights': weights(runner.model.module)}


@pytest.mark.distributed
def test_two_ranks_train_the_part_alone(tmp_path: Path) -> None:
    model = MODELS.build(model_config(norm='GN'))
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'first.pth')
    one = second_stage(
        tmp_path / 'one',
        str(tmp_path / 'first.pth'),
        epochs=1,
        model=model_config(norm='GN'),
        cfg={'model': model_config(norm='GN')},
    )
    first, second = on_two_ranks(tmp_path, _both_ranks, tmp_path)
    assert_same(first['weights'], second['weights'])
    assert_same(rest(first['weights']), rest(weights(model)))
    for step in range(4):
        mean = sum(rank['losses'][step]['distill.logits.loss_logit'] for rank in (first, second)) / 2
        assert mean == pytest.approx(one[1][step]['distill.logits.loss_logit'], rel=1e-3)
