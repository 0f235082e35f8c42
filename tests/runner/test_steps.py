"""Single training steps: the changed config, the order of the hooks, the clean-up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from torch import Tensor
from torch.utils.data import Dataset

from kd_plugins.errors import ConfigError
from kd_plugins.runner.steps import batches, distill_hook, drive, prepare_config, temporary_runner, train_step


@DATASETS.register_module()
class CountingData(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': torch.full((2,), float(index))}


@MODELS.register_module()
class OneLayer(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> dict[str, Tensor]:
        return {'loss': self.layer(inputs).square().mean()}


class Calls(Hook):
    def __init__(self) -> None:
        self.names: list[str] = []

    def before_train(self, runner: Any) -> None:
        self.names.append('before_train')

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.names.append(f'iteration {runner.iter}')

    def after_train(self, runner: Any) -> None:
        self.names.append('after_train')


def training_config(**changes: Any) -> Config:
    settings: dict[str, Any] = dict(
        model=dict(type='OneLayer'),
        train_dataloader=dict(
            batch_size=2,
            num_workers=2,
            persistent_workers=True,
            prefetch_factor=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=dict(type='CountingData'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_cfg=dict(type='ValLoop'),
        default_scope='mmengine',
    )
    return Config({**settings, **changes})


def test_steps_run_between_set_up_and_clean_up() -> None:
    calls = Calls()
    with temporary_runner(training_config(), generated=False) as (runner, remarks):
        runner.register_hook(calls)
        assert distill_hook(runner) is None and remarks == [] and Path(runner.work_dir).is_dir()
        before = runner.model.layer.weight.detach().clone()

        def body() -> None:
            assert runner.model.training
            first_two = batches(runner, 2)
            assert [batch['inputs'].tolist() for batch in first_two] == [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]
            for index, batch in enumerate(first_two):
                assert train_step(runner, index, batch).keys() == {'loss'}

        drive(runner, body)
        assert not torch.equal(runner.model.layer.weight, before)
    assert calls.names == ['before_train', 'iteration 0', 'iteration 1', 'after_train']
    assert not Path(runner.work_dir).exists()


def test_a_loader_without_a_batch_is_a_sentence() -> None:
    """``kd_plugins overhead`` divided by the number of batches, 0."""
    with pytest.raises(ConfigError, match='train_dataloader gives no batch'):
        batches(SimpleNamespace(train_dataloader=[]), 4)
    assert batches(SimpleNamespace(train_dataloader=[1, 2, 3]), 2) == [1, 2]


def test_clean_up_follows_an_error() -> None:
    calls = Calls()

    def body() -> None:
        raise ValueError('in a step')

    with temporary_runner(training_config(), generated=False) as (runner, _):
        runner.register_hook(calls)
        with pytest.raises(ValueError, match='in a step'):
            drive(runner, body)
    assert calls.names == ['before_train', 'after_train']


def test_nothing_is_evaluated_downloaded_or_loaded_by_workers(tmp_path: Path) -> None:
    (tmp_path / 'teacher.py').write_text(
        "model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='y.pth')), neck=dict())\n"
    )
    teacher = dict(type='kd_plugins.FrozenTeacher', config=str(tmp_path / 'teacher.py'), checkpoint=None)
    config = training_config(
        model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='x.pth'))),
        default_hooks=dict(distill=dict(type='kd_plugins.DistillHook', distillers={}, teacher=teacher)),
    )
    remarks = prepare_config(config, str(tmp_path), generated=False)
    assert config.val_cfg is None and config.train_dataloader.num_workers == 0
    assert config.model.backbone.init_cfg is None
    assert config.default_hooks.distill.teacher.config.model.backbone.init_cfg is None
    assert remarks == [
        'model.backbone.init_cfg (x.pth) is not loaded here: the network starts with random weights',
        'teacher.config: model.backbone.init_cfg (y.pth) is not loaded here: the network starts with random weights',
    ]


@pytest.mark.parametrize('several', [False, True])
def test_teachers_without_a_checkpoint_load_no_pretrained_weights(tmp_path: Path, several: bool) -> None:
    backbone = {'type': 'ResNet', 'init_cfg': {'type': 'Pretrained', 'checkpoint': 'https://example.org/r50.pth'}}
    (tmp_path / 'big.py').write_text(f'model = {{"type": "OneLayer", "backbone": {backbone!r}}}\n')
    teacher = {'type': 'kd_plugins.FrozenTeacher', 'config': str(tmp_path / 'big.py'), 'checkpoint': None}
    distill = {'teachers': {'big': teacher, 'off': None}} if several else {'teacher': teacher}
    config = Config({'model': {}, 'train_dataloader': {}, 'default_hooks': {'distill': distill}})
    remarks = prepare_config(config, str(tmp_path), generated=False)
    changed = config.default_hooks.distill
    changed = changed.teachers.big if several else changed.teacher
    assert changed.config.model.backbone.init_cfg is None
    assert [remark.split('.config')[0] for remark in remarks] == ['teachers.big' if several else 'teacher']


@pytest.mark.parametrize('generated', [False, True])
def test_unlabelled_images_are_read_in_this_process(tmp_path: Path, generated: bool) -> None:
    loader = dict(batch_size=8, num_workers=2, prefetch_factor=4, persistent_workers=True, dataset=dict(data_root='x/'))
    hook = dict(type='kd_plugins.DistillHook', distillers={}, unlabelled=dict(dataloader=loader))
    config = Config(
        dict(
            default_scope='mmdet',
            model=dict(bbox_head=dict(num_classes=2)),
            train_dataloader=dict(batch_size=4),
            default_hooks=dict(distill=hook),
        )
    )
    prepare_config(config, str(tmp_path), generated)
    changed = config.default_hooks.distill.unlabelled.dataloader
    assert changed.num_workers == 0 and 'prefetch_factor' not in changed
    if generated:
        assert changed.dataset == config.train_dataloader.dataset and changed.batch_size == 2
    else:
        assert changed.dataset == dict(data_root='x/') and changed.batch_size == 8
