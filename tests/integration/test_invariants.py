"""The invariants of the design, on real runs of MMDetection's GFL: one process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader

from kd_plugins.errors import NonFiniteLossError
from kd_plugins.runner.steps import distill_hook

from .runs import EMA, FEATURE, LD, Recorder, Squares, assert_same, make_runner, model_config, weights

FROZEN: dict[str, Any] = {
    'type': 'kd_plugins.FrozenTeacher',
    'config': {'model': model_config()},
    'checkpoint': None,
}
"""A random network, whose BatchNorm layers are folded."""
DISTILLERS = {'localization': LD, 'feature': FEATURE}


def run(work_dir: Path, *args: Any, **kwargs: Any) -> tuple[Any, list[dict[str, float]]]:
    recorder = Recorder()
    runner = make_runner(work_dir, *args, hooks=[recorder, *kwargs.pop('hooks', [])], **kwargs)
    runner.train()
    return runner, recorder.losses


def test_checkpoint_is_the_plain_model(tmp_path: Path) -> None:
    _, losses = run(tmp_path / 'run', DISTILLERS, EMA, epochs=1)
    assert {'distill.localization.loss_ld', 'distill.feature.loss_feat'} <= losses[0].keys()
    checkpoint = CheckpointLoader.load_checkpoint(str(tmp_path / 'run' / 'epoch_1.pth'))  # as plain MMEngine reads it
    plain = MODELS.build(model_config())
    expected = plain.state_dict()
    saved = checkpoint['state_dict']
    assert {k: (v.shape, v.dtype) for k, v in saved.items()} == {k: (v.shape, v.dtype) for k, v in expected.items()}
    plain.load_state_dict(saved, strict=True)
    # The state of the optimizer fits the plain run as well: one group, one entry for each parameter.
    assert len(checkpoint['optimizer']['param_groups']) == 1
    assert len(checkpoint['optimizer']['state']) == len(list(plain.parameters()))
    assert all(len(scheduler['base_values']) == 1 for scheduler in checkpoint['param_schedulers'])
    assert checkpoint['distill']['optimizer'], 'the moments of the adapter are stored separately'


@pytest.mark.parametrize('extra', [[], [EMAHook(momentum=0.1)]], ids=['plain', 'ema-hook'])
def test_zero_weight_changes_nothing(tmp_path: Path, extra: list[Any]) -> None:
    data = Squares(augment=True)
    off = {name: {**config, 'weight': 0.0} for name, config in DISTILLERS.items()}
    plain, expected = run(tmp_path / 'plain', dataset=data, hooks=list(extra))
    hooked, losses = run(tmp_path / 'hooked', off, EMA, dataset=data, hooks=list(extra))
    assert [{k: v for k, v in step.items() if not k.startswith('distill')} for step in losses] == expected
    assert_same(weights(hooked.model), weights(plain.model))


def test_adapter_is_trained_by_its_own_optimizer(tmp_path: Path) -> None:
    rates = []

    class Watch(Recorder):
        def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            own = distill_hook(runner).optimizer.optimizer
            (student,) = runner.optim_wrapper.optimizer.param_groups
            rates.append((student['lr'], own.param_groups[0]['lr']))
            adapters.append([param.detach().clone() for param in own.param_groups[0]['params']])

    adapters: list[list[torch.Tensor]] = []
    run(tmp_path / 'run', {'feature': FEATURE}, hooks=[Watch()])
    # The schedulers have not stepped yet, so both rates are those of the update.
    assert all(own == pytest.approx(student) for student, own in rates)
    assert len({student for student, _ in rates}) > 2, 'the rate follows its schedule'
    assert any(not torch.equal(a, b) for a, b in zip(adapters[0], adapters[-1]))


def test_teachers_change_by_their_own_rule_only(tmp_path: Path) -> None:
    source, _ = run(tmp_path / 'source', epochs=1)
    checkpoint = str(tmp_path / 'source' / 'epoch_1.pth')
    frozen = {**FROZEN, 'checkpoint': checkpoint, 'fold': False}
    snapshots: list[Any] = []

    class Watch(Recorder):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            hook = distill_hook(runner)
            model = hook.teachers['teacher'].model
            snapshots.append((weights(model), model.training, weights(runner.model)))

    run(tmp_path / 'frozen', {'localization': LD}, frozen, hooks=[Watch()])
    for state, training, _ in snapshots:
        assert not training
        assert_same(state, weights(source.model))
    snapshots.clear()
    run(tmp_path / 'ema', {'localization': LD}, EMA, hooks=[Watch()])
    (before, _, _), (after, _, student) = snapshots[0], snapshots[1]
    for name, value in after.items():
        expected = torch.lerp(before[name], student[name], 0.1) if value.is_floating_point() else student[name]
        assert torch.equal(value, expected), name
    snapshots.clear()
    run(tmp_path / 'snap', {'localization': LD}, {'type': 'kd_plugins.SnapshotTeacher'}, hooks=[Watch()], epochs=3)
    assert_same(snapshots[4][0], snapshots[4][2])
    assert_same(snapshots[7][0], snapshots[4][2])
    assert_same(snapshots[8][0], snapshots[8][2])


@pytest.mark.parametrize(
    'teacher', [EMA, {'type': 'kd_plugins.SnapshotTeacher'}, FROZEN], ids=['ema', 'snapshot', 'frozen']
)
def test_interrupted_run_resumes_exactly(tmp_path: Path, teacher: dict[str, Any]) -> None:
    schedule = {'type': 'kd_plugins.LinearWarmup', 'value': 1.0, 'end': 9}
    distillers = {'localization': {**LD, 'weight': schedule}, 'feature': FEATURE}
    options: dict[str, Any] = {'epochs': 4, 'dataset': Squares(augment=True)}
    whole, expected = run(tmp_path / 'whole', distillers, teacher, **options)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / 'cut', distillers, teacher, hooks=[Recorder(kill_at=9)], **options)
    resumed, losses = run(tmp_path / 'cut', distillers, teacher, resume=True, **options)
    assert losses == expected[8:]
    assert_same(weights(resumed.model), weights(whole.model))


def test_plain_and_distilled_runs_continue_each_other(tmp_path: Path) -> None:
    run(tmp_path / 'a', epochs=1)
    _, losses = run(tmp_path / 'a', DISTILLERS, EMA, epochs=2, resume=True)
    assert len(losses) == 4 and losses[0]['distill.feature.loss_feat'] > 0
    _, losses = run(tmp_path / 'a', epochs=3, resume=True)
    assert len(losses) == 4 and not any(key.startswith('distill') for key in losses[0])


def test_same_keys_with_and_without_objects(tmp_path: Path) -> None:
    late = {'type': 'kd_plugins.Constant', 'value': 1.0, 'begin': 3}
    distillers = {'localization': {**LD, 'weight': late}, 'feature': FEATURE}
    _, losses = run(tmp_path / 'run', distillers, EMA, dataset=Squares(empty=True), batch_size=1, epochs=1)
    assert len({frozenset(step) for step in losses}) == 1
    assert all(torch.isfinite(torch.tensor(list(step.values()))).all() for step in losses)
    assert losses[0]['distill.localization.loss_ld_neg'] == 0 < losses[4]['distill.localization.loss_ld_neg']


def test_non_finite_term_stops_the_run(tmp_path: Path) -> None:
    class Poison(Recorder):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            if runner.iter == 2:
                hook = distill_hook(runner)
                next(hook.teachers['teacher'].model.parameters()).fill_(float('nan'))

    with pytest.raises(
        NonFiniteLossError, match=r"'distill.localization.loss_ld\w*' became nan at iteration 3 .*square_\d+"
    ):
        run(tmp_path / 'run', {'localization': LD}, EMA, hooks=[Poison()])


def test_losses_are_float32_inside_autocast(tmp_path: Path) -> None:
    losses: list[dict[str, torch.Tensor]] = []

    class Keep(Recorder):
        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            losses.append(outputs)

    runner = make_runner(tmp_path / 'run', DISTILLERS, EMA, epochs=1, hooks=[Keep()])
    step = runner.model.train_step

    def train_step(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast('cpu', dtype=torch.bfloat16):
            return step(*args, **kwargs)

    runner.model.train_step = train_step
    runner.train()
    terms = [value for step in losses for key, value in step.items() if key.startswith('distill')]
    assert terms and all(value.dtype == torch.float32 and value.isfinite() for value in terms)


def test_detaching_leaves_nothing(tmp_path: Path) -> None:
    runner = make_runner(tmp_path / 'run', DISTILLERS, EMA, epochs=1)
    fields = {name: set(vars(module)) for name, module in runner.model.named_modules()}
    groups = len(runner.build_optim_wrapper(runner.optim_wrapper).optimizer.param_groups)
    runner.train()
    for name, module in runner.model.named_modules():
        assert set(vars(module)) - fields[name] <= {'_is_init'}, name
        assert not module._forward_hooks and not module._forward_pre_hooks, name
        assert not module._forward_hooks_with_kwargs and not module._forward_pre_hooks_with_kwargs, name
    assert len(runner.optim_wrapper.optimizer.param_groups) == groups


def test_evaluation_does_not_build_the_teacher(tmp_path: Path) -> None:
    missing = {'type': 'kd_plugins.FrozenTeacher', 'config': 'nowhere.py', 'checkpoint': 'nowhere.pth'}
    runner = make_runner(tmp_path / 'run', {'localization': LD}, missing)
    runner.call_hook('before_run')
    runner.call_hook('before_test')
    assert not runner.model._forward_hooks


def test_terms_are_logged_with_weight_and_ratio(tmp_path: Path) -> None:
    local = {'type': 'Visualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]}
    runner, _ = run(
        tmp_path / 'run', {'feature': {**FEATURE, 'weight': 0.25}}, epochs=1, log_level='INFO', visualizer=local
    )
    line = (Path(runner.log_dir) / 'vis_data' / 'scalars.json').read_text()
    for name in ('raw', 'weight', 'weighted', 'ratio'):
        assert f'distill.feature.loss_feat/{name}' in line
    text = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert 'x weight 0.25 =' in text and '% of the task loss' in text


def test_checkpoint_without_code(tmp_path: Path) -> None:
    from kd_plugins.checkpoints import load_checkpoint
    from kd_plugins.errors import CheckpointError

    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, ('touch exploded',)

    torch.save({'state_dict': Bomb()}, tmp_path / 'bomb.pth')
    with pytest.raises(CheckpointError, match='could run code'):
        load_checkpoint(tmp_path / 'bomb.pth')
    assert not Path('exploded').exists()


def test_getattr_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    from kd_plugins.checkpoints import load_checkpoint
    from kd_plugins.errors import CheckpointError

    class Bomb:
        def __reduce__(self) -> Any:
            return getattr, (torch.nn.Module, '__init__')

    torch.save({'state_dict': Bomb()}, tmp_path / 'bomb.pth')
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / 'bomb.pth')
