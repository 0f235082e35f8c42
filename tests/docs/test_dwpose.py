"""The shipped arms of DWPose differ in what docs/dwpose.md says, and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmpose')
from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'dwpose'
PLAIN = 'rtmcc-lite0_lspet'
STAGE1 = 'dwpose_lite0w-lite0_lspet_stage1'
STAGE2, RESTART, CONTINUED = (f'dwpose_lite0-lite0_lspet_{name}' for name in ('stage2', 'restart', 'continued'))
SECOND = [STAGE2, RESTART, CONTINUED]
IMAGES = 2000
RELEASED = [
    path.stem
    for path in sorted(CONFIGS.glob('*_stage2.py'))
    if 'lspet' not in path.stem and path.stem != 'dwpose_t-t_coco-256x192_stage2'
]


def arm(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def iterations(config: Config) -> int:
    return config.train_cfg.max_epochs * -(-IMAGES // config.train_dataloader.batch_size)


def average(config: Config) -> dict[str, Any]:
    (hook,) = (hook for hook in config.custom_hooks if hook.type == 'EMAHook')
    return hook


@pytest.mark.parametrize('name', [STAGE1, *SECOND])
def test_arms_share_model_data_and_optimizer(name: str) -> None:
    plain, other = arm(PLAIN), arm(name)
    for key in ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'randomness'):
        assert other[key] == plain[key], key
    if name != CONTINUED:
        assert other.optim_wrapper == plain.optim_wrapper


def test_first_stage_has_the_schedule_of_plain_training_and_the_released_weights() -> None:
    plain, first = arm(PLAIN), arm(STAGE1)
    for key in ('train_cfg', 'param_scheduler', 'custom_hooks'):
        assert first[key] == plain[key], key
    terms = first.default_hooks.distill.distillers
    assert terms.simcc.reduction == 'reference' and first.train_dataloader.batch_size == 64
    assert terms.simcc.weight == {'type': 'kd_plugins.LinearDecay', 'value': 0.1}
    assert terms.feature.weight == {'type': 'kd_plugins.LinearDecay', 'value': 7e-5}


def test_head_of_the_teacher_alone_is_wider_and_it_trains_longer() -> None:
    plain, teacher = arm(PLAIN), arm('rtmcc-lite0w_lspet')
    assert teacher.train_cfg.max_epochs > plain.train_cfg.max_epochs
    assert teacher.model.head.gau_cfg.hidden_dims > plain.model.head.gau_cfg.hidden_dims
    assert teacher.model.backbone == plain.model.backbone


@pytest.mark.parametrize('epochs', [None, 35])
@pytest.mark.parametrize('name', [PLAIN, STAGE1, *SECOND])
def test_schedule_and_average_follow_the_number_of_epochs(
    name: str, epochs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('LSPET_EPOCHS', raising=False)
    if epochs:
        monkeypatch.setenv('LSPET_EPOCHS', str(epochs))
    config, whole = arm(name), epochs or 20
    assert config.train_cfg.max_epochs == (whole // 5 if name in SECOND else whole)
    assert average(config)['momentum'] == pytest.approx(10 / iterations(config))
    assert average(config)['update_buffers'] is True
    if name not in SECOND:
        assert config.param_scheduler[1].begin == whole // 2 and 'end' not in config.param_scheduler[1]


@pytest.mark.parametrize(
    'name', [*SECOND[:2], 'dwpose_t-t_lspet_stage2', 'dwpose_r18w32-r18w32_lspet_stage2', *RELEASED]
)
def test_second_stages_have_a_constant_rate_and_an_average(name: str) -> None:
    """A cosine of the released configs begins after their last epoch."""
    config = arm(name)
    warmup, *later = config.param_scheduler
    assert warmup.type == 'LinearLR' and average(config)
    assert all(one.begin > config.train_cfg.max_epochs for one in later)


def test_controls_of_the_second_stage() -> None:
    stage2, restart, continued = map(arm, SECOND)
    assert restart.default_hooks.distill.restart == stage2.default_hooks.distill.restart
    assert not restart.default_hooks.distill.distillers and 'task_weight' not in restart.default_hooks.distill
    assert stage2.default_hooks.distill.task_weight == 0
    for key in ('train_cfg', 'custom_hooks', 'load_from'):
        assert restart[key] == stage2[key] == continued[key], key
    assert restart.param_scheduler == stage2.param_scheduler
    # The rate with which the first stage ended.
    assert continued.optim_wrapper.optimizer.lr == arm(STAGE1).param_scheduler[1].eta_min
    assert not continued.param_scheduler and 'distill' not in continued.default_hooks
