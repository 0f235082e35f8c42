"""Trained models and samples for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from torch import nn
from torch.utils.data import Dataset

from kd_plugins.distillers import LogitDistiller
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.visualization.loading import build_trained, check_keys, read_sample, teacher_model


@MODELS.register_module(force=True)
class ShownNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)


@DATASETS.register_module(force=True)
class ShownData(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> str:
        return f'sample {index}'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / 'config.py'
    path.write_text("model = dict(type='ShownNet')\ntest_dataloader = dict(dataset=dict(type='ShownData'))\n")
    return Config.fromfile(path)


def saved(folder: Path, **weights: Any) -> str:
    path = folder / 'epoch_1.pth'
    torch.save({'state_dict': weights, 'meta': {'epoch': 1}}, path)
    return str(path)


def test_a_model_in_eval_mode_with_its_weights(config: Config, tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, **{'layer.weight': torch.tensor([[3.0]])})
    model, meta = build_trained(config, checkpoint, 'cpu')
    assert model.layer.weight.item() == 3.0 and not model.training and model.cfg is config and meta == {'epoch': 1}


def test_a_model_is_refused_before_its_weights_are_loaded(config: Config) -> None:
    def refuse(model: Any) -> None:
        raise ConfigError(f'model.type: {type(model).__name__} has no levels')

    with pytest.raises(ConfigError, match='ShownNet has no levels'):
        build_trained(config, 'no/such.pth', 'cpu', check=refuse)


def test_a_checkpoint_of_another_model(config: Config, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'layer.weight'"):
        build_trained(config, saved(tmp_path, other=torch.zeros(1)), 'cpu')


def test_samples_by_number(config: Config) -> None:
    sample, dataset = read_sample(config, 'test_dataloader', 1)
    assert sample == 'sample 1' and len(dataset) == 2
    for index in (2, -1):
        with pytest.raises(ConfigError, match=f'--index: {index} does not exist; valid: 0 to 1'):
            read_sample(config, 'test_dataloader', index)


def test_missing_parts(config: Config) -> None:
    check_keys(config, 'model', 'test_dataloader')
    with pytest.raises(ConfigError, match=r"config: '.*config.py' has no 'val_dataloader'; inherit one that has"):
        read_sample(config, 'val_dataloader', 0)


@pytest.mark.parametrize('where', ['default_hooks', 'custom_hooks'])
def test_the_network_that_teaches_is_that_of_the_source(where: str, tmp_path: Path) -> None:
    """Of several teachers, with its ``cfg_options``, wherever the hook is."""
    path = tmp_path / 'wide.py'
    path.write_text("model = dict(type='ShownNet', width=1)\n")
    frozen = dict(type='kd_plugins.FrozenTeacher', config=str(path), checkpoint=None, cfg_options={'model.width': 8})
    hook = dict(type='kd_plugins.DistillHook', distillers={})
    hooks: dict[str, Any] = {'default_hooks': {'other': hook}, 'custom_hooks': [hook]}

    def found(source: str, **teachers: Any) -> Any:
        hook.clear()
        hook.update(type='kd_plugins.DistillHook', distillers={}, **teachers)
        config = Config({where: hooks[where]})
        return teacher_model(config, LogitDistiller('score', source=source))

    average = dict(type='kd_plugins.EMATeacher')
    assert found('big', teachers=dict(big=frozen, average=average)).width == 8
    assert found('average', teachers=dict(big=frozen, average=average)) is None
    assert found('auto', teacher=frozen).width == 8
    assert found('auto', teacher=dict(frozen, config=dict(model=dict(type='ShownNet')))).width == 8
    assert found('auto') is None and found('student', teacher=frozen) is None
    with pytest.raises(ConfigError, match="source is 'bgi', which names no teacher; nearest: 'big'"):
        found('bgi', teachers=dict(big=frozen))
