"""The distillers' optimizer: it steps with the student's, and leaves that as in a plain run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OneCycleLR, OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.optimizer import DistillOptimizer, check_settings, schedule_factor
from kd_plugins.runner.steps import drive
from kd_plugins.utils.safe_load import load_safely
from tests.hooks.tiny_runs import ADAPTED, EMA, CpuAmpOptimWrapper, Recorder, TinyStudent, losses_of, make_runner
from tests.torch_features import CPU_SCALER

SGD = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.01)


def in_training(work_dir: Path, body: Callable[[Runner], None], **settings: Any) -> None:
    """Call ``body`` in place of the training loop, when the runner has its optimizer and its schedulers."""
    ran: list[bool] = []

    def run() -> None:
        body(runner)
        ran.append(True)

    runner = make_runner(work_dir, [], **settings)
    drive(runner, run)
    assert ran


def update(runner: Runner, params: list[nn.Parameter], factor: float = 1.0) -> None:
    losses = [param.square().sum() for param in (*runner.model.parameters(), *params)]
    runner.optim_wrapper.update_params(torch.stack(losses).sum() * factor)


def test_it_has_the_base_settings_and_follows_the_schedule(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        params = [nn.Parameter(torch.ones(3))]
        own = DistillOptimizer(runner, params)
        (group,) = own.optimizer.param_groups
        assert type(own.optimizer) is torch.optim.SGD and (group['momentum'], group['weight_decay']) == (0.9, 0.01)
        rates = []
        for _ in range(4):
            update(runner, params)
            rates.append(group['lr'])
            for scheduler in runner.param_schedulers:
                scheduler.step()
        assert rates == pytest.approx([0.025, 0.0625, 0.1, 0.1])
        assert (params[0] < 1).all() and params[0].grad is None

    # The rate of the first group is 0, that of the second a tenth.
    paramwise = dict(custom_keys={'first': dict(lr_mult=0.0), 'second': dict(lr_mult=0.1)})
    warmup = [dict(type='LinearLR', start_factor=0.25, by_epoch=False, begin=0, end=3)]
    settings = dict(optimizer=SGD, paramwise_cfg=paramwise)
    in_training(tmp_path / 'run', body, optim_wrapper=settings, param_scheduler=warmup)


def test_the_students_update_is_that_of_a_run_without_adapters(tmp_path: Path) -> None:
    """The gradient of adapters must not enter the norm that clips the student's."""
    weights: dict[bool, Any] = {}

    def body(with_adapters: bool, runner: Runner) -> None:
        params = [nn.Parameter(torch.full((3,), 100.0))] if with_adapters else []
        if params:
            DistillOptimizer(runner, params)
        for _ in range(3):
            update(runner, params)
        weights[with_adapters] = [param.detach().clone() for param in runner.model.parameters()]

    wrapper = dict(optimizer=SGD, clip_grad=dict(max_norm=0.1))
    for flag in (False, True):
        in_training(tmp_path / str(flag), partial(body, flag), optim_wrapper=wrapper, param_scheduler=None)
    assert all(torch.equal(a, b) for a, b in zip(weights[False], weights[True], strict=True))


def test_adapters_rest_while_their_distiller_does(tmp_path: Path) -> None:
    """Neither weight decay nor a running mean of gradients moves them, also while another distiller teaches."""
    late = dict(ADAPTED, weight=dict(type='kd_plugins.Stop', value=1.0, begin=3, end=6))
    hook = DistillHook(teacher=EMA, distillers=dict(first=ADAPTED, late=late))
    weights: dict[str, list[torch.Tensor]] = {'first': [], 'late': []}

    class Watch(Hook):
        def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
            for name, seen in weights.items():
                seen.append(hook.distillers[name].adapter.weight.detach().clone())

    adamw = dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5))
    make_runner(tmp_path / 'run', [hook, Watch()], optim_wrapper=adamw, param_scheduler=None).train()
    moved = {name: [not torch.equal(*pair) for pair in pairwise(seen)] for name, seen in weights.items()}
    # Of 8 iterations, the distiller is active in 3, 4 and 5.
    assert moved == {'first': [True] * 7, 'late': [False, False, True, True, True, False, False]}


def test_its_own_settings(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        params = [nn.Parameter(torch.full((4,), 10.0))]
        own = DistillOptimizer(
            runner, params, {'optimizer': dict(lr=1.0, momentum=0.0, weight_decay=0.0), 'clip_grad': dict(max_norm=1.0)}
        )
        update(runner, params)
        torch.testing.assert_close(params[0].detach(), torch.full((4,), 9.5))
        own.remove()
        other = DistillOptimizer(runner, params, {'optimizer': dict(type='AdamW', lr=0.5)})
        assert type(other.optimizer) is torch.optim.AdamW and other.optimizer.param_groups[0]['lr'] == 0.5

    in_training(tmp_path / 'run', body, param_scheduler=None)


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        (3, 'default_hooks.distill.optimizer is 3; give a dict'),
        ({'optimiser': {}}, "has no argument 'optimiser'; nearest: 'optimizer'"),
        ({'optimizer': 3}, 'default_hooks.distill.optimizer.optimizer is 3'),
        ({'clip_grad': {'type': 'nrm'}}, "clip_grad.type is 'nrm'; nearest: 'norm'"),
        ({'clip_grad': {'type': ['norm']}}, r"clip_grad.type is \['norm'\]; nearest: 'norm'"),
        ({'clip_grad': {'type': 'value'}}, "clip_grad needs 'clip_value', for example clip_value=1.0"),
        (
            {'clip_grad': {'max_nrom': 1.0}},
            "clip_grad: clip_grad_norm_ has no argument 'max_nrom'; nearest: 'max_norm'",
        ),
        ({'clip_grad': {'max_norm': '1'}}, "clip_grad.max_norm is '1'; it must be a finite number > 0"),
        ({'clip_grad': {'max_norm': 1.0, 'norm_type': 0}}, 'clip_grad.norm_type is 0; '),
        (
            {'optimizer': {'lr': 'fast'}},
            "optimizer.optimizer.lr is 'fast'; it must be a finite number >= 0, such as 0.001",
        ),
        (
            {'optimizer': {'type': 'AdmW'}},
            "optimizer.optimizer.type is 'AdmW', which is not an Optimizer; nearest: 'Adam",
        ),
        (
            {'optimizer': {'type': 'SGD', 'momentm': 0.9}},
            "optimizer.optimizer: SGD has no argument 'momentm'; nearest: 'momentum'",
        ),
    ],
)
def test_sentences(settings: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_settings(settings)


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'type': 'AdmW'}, "optimizer.optimizer.type is 'AdmW', which is not an Optimizer; nearest: 'Adam"),
        ({'learning_rate': 1.0}, "default_hooks.distill.optimizer.optimizer: SGD.* 'learning_rate'"),
    ],
)
def test_other_optimizers_are_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    def body(runner: Runner) -> None:
        with pytest.raises(ConfigError, match=sentence):
            DistillOptimizer(runner, [nn.Parameter(torch.ones(3))], {'optimizer': changes})

    in_training(tmp_path / 'run', body)


def test_automatic_scaling_of_the_rate(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        own = DistillOptimizer(runner, [nn.Parameter(torch.ones(3))])
        expected = runner.optim_wrapper.optimizer.param_groups[0]['initial_lr']
        assert own.optimizer.param_groups[0]['lr'] == expected == 0.1 * 2 / 16

    in_training(tmp_path / 'run', body, auto_scale_lr=dict(enable=True, base_batch_size=16))


def test_accumulation_has_the_students_rhythm(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        params = [nn.Parameter(torch.ones(3))]
        own = DistillOptimizer(runner, params, {'optimizer': dict(lr=0.25, momentum=0.0, weight_decay=0.0)})
        for step in range(4):
            before = params[0].detach().clone()
            update(runner, params)
            if runner.optim_wrapper.should_update():
                own.after_update()
            assert torch.equal(before, params[0]) == (step % 2 == 0)
        # Each update has the mean gradient of two losses, 2 * value.
        torch.testing.assert_close(params[0].detach(), torch.full((3,), 0.25))

    settings = dict(optimizer=SGD, accumulative_counts=2)
    in_training(tmp_path / 'run', body, optim_wrapper=settings, param_scheduler=None, epochs=4)


@CPU_SCALER
@pytest.mark.parametrize('clip', [None, dict(max_norm=1000.0)])
def test_the_loss_scaler_is_the_students(tmp_path: Path, clip: dict[str, Any] | None) -> None:
    def body(runner: Runner) -> None:
        plain, scaled = [nn.Parameter(torch.ones(3))], [nn.Parameter(torch.ones(3))]
        settings = {'optimizer': dict(lr=0.1, momentum=0.0, weight_decay=0.0), 'clip_grad': clip}
        own = DistillOptimizer(runner, scaled, settings)
        update(runner, scaled)
        own.after_update()
        plain[0].data -= 0.1 * 2
        torch.testing.assert_close(scaled[0], plain[0])
        # A gradient that overflows in the student skips the step of both, and lowers the scale once.
        student, scale = next(runner.model.parameters()), runner.optim_wrapper.loss_scaler.get_scale()
        before = student.detach().clone()
        runner.optim_wrapper.update_params((student * float('inf')).sum() + scaled[0].sum())
        assert scaled[0].grad is not None
        own.after_update()
        assert torch.equal(student, before) and scaled[0].grad is None
        torch.testing.assert_close(scaled[0], plain[0])
        assert runner.optim_wrapper.loss_scaler.get_scale() == scale / 2

    model = TinyStudent()
    wrapper = CpuAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    in_training(tmp_path / 'run', body, model=model, optim_wrapper=wrapper, param_scheduler=None)


def test_several_optimizers(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        params = [nn.Parameter(torch.ones(3))]
        DistillOptimizer(runner, params, {'optimizer': dict(lr=0.25, momentum=0.0)})
        losses = [param.square().sum() for param in (*runner.model.parameters(), *params)]
        torch.stack(losses).sum().backward()
        for wrapper in runner.optim_wrapper.values():
            wrapper.step()
        torch.testing.assert_close(params[0].detach(), torch.full((3,), 0.5)), 'one update, not two'

    model = TinyStudent()
    wrappers = {
        name: OptimWrapper(torch.optim.SGD(getattr(model, name).parameters(), lr=0.1)) for name in ('first', 'second')
    }
    in_training(tmp_path / 'run', body, model=model, optim_wrapper=OptimWrapperDict(**wrappers), param_scheduler=None)


def test_apex_is_refused(tmp_path: Path) -> None:
    class ApexOptimWrapper(OptimWrapper):
        pass

    def body(runner: Runner) -> None:
        with pytest.raises(ConfigError, match="'ApexOptimWrapper'.*nearest: 'AmpOptimWrapper'"):
            DistillOptimizer(runner, [nn.Parameter(torch.ones(3))])

    model = TinyStudent()
    wrapper = ApexOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    in_training(tmp_path / 'run', body, model=model, optim_wrapper=wrapper, param_scheduler=None)


def test_a_sharded_optimizer_gives_its_inner_type(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        runner.optim_wrapper.optimizer.optim = torch.optim.AdamW(runner.model.parameters(), lr=0.5)
        own = DistillOptimizer(runner, [nn.Parameter(torch.ones(3))])
        assert type(own.optimizer) is torch.optim.AdamW and own.optimizer.param_groups[0]['lr'] == 0.5

    in_training(tmp_path / 'run', body)


def test_the_checkpoint_is_that_of_a_plain_run(tmp_path: Path) -> None:
    losses_of(tmp_path / 'plain', [], epochs=1)
    hook = DistillHook({'gap': ADAPTED}, EMA)
    losses_of(tmp_path / 'run', [hook, Recorder()], epochs=1)
    plain, run = (load_safely(tmp_path / name / 'epoch_1.pth') for name in ('plain', 'run'))
    assert run['optimizer']['param_groups'] == plain['optimizer']['param_groups']
    assert run['param_schedulers'] == plain['param_schedulers']
    assert run['distill']['optimizer']['param_groups'][0]['params'] == [0, 1]


def test_the_state_of_other_parameters_is_refused(tmp_path: Path) -> None:
    def body(runner: Runner) -> None:
        own = DistillOptimizer(runner, [nn.Parameter(torch.ones(3))])
        other = DistillOptimizer(runner, [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))])
        with pytest.raises(ConfigError, match='the resumed checkpoint holds the state of another optimizer'):
            own.load_state_dict(other.state_dict())

    in_training(tmp_path / 'run', body)


def test_one_cycle_never_exceeds_the_rate() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = OneCycleLR(optimizer, eta_max=0.1, total_steps=10)
    factors = []
    for _ in range(9):
        factors.append(schedule_factor(optimizer.param_groups))
        optimizer.step()
        schedule.step()
    assert factors[0] == pytest.approx(1 / 25) and max(factors) == pytest.approx(1.0, abs=0.05)


def test_a_schedule_without_an_initial_rate_is_constant() -> None:
    assert schedule_factor([{'lr': 0.3}]) == schedule_factor([{'lr': 0.0}]) == 1.0
