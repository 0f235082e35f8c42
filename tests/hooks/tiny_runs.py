"""Runs of MMEngine's runner on a network of two layers, for tests of hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_plugins.distillers import BaseDistiller, Batch
from kd_plugins.registry import MODELS


class Points(Dataset[dict[str, Tensor]]):
    """Pairs of numbers; entry ``i`` depends on ``i`` alone."""

    metainfo = {'classes': ('left', 'right')}

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': torch.randn(2, generator=torch.Generator().manual_seed(index))}


@MODELS.register_module(force=True)
class TinyStudent(BaseModel):
    """A layer, dropout and a second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 4)
        self.dropout = nn.Dropout(0.25)
        self.second = nn.Linear(4, 3)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = self.second(self.dropout(self.first(inputs).relu()))
        if mode != 'loss':
            return outputs
        return {'loss_task': outputs.square().mean(), 'accuracy': outputs.detach().mean()}


@MODELS.register_module(force=True)
class TinyGap(BaseDistiller):
    """Mean squared difference of one layer; with ``adapter``, after a linear map of the student's output."""

    loss_names = ('loss_gap',)

    def __init__(self, tap: str = 'second', adapter: bool = False, factor: Any = 1.0, **common: Any) -> None:
        super().__init__(**common)
        self.tap = tap
        self.with_adapter = adapter
        self.factor = factor

    def student_taps(self) -> dict[str, str]:
        return {'tap': self.tap}

    def initialize(self, student_outputs: Any, teacher_outputs: Any) -> None:
        if self.with_adapter:
            width = student_outputs['tap'][0].shape[-1]
            self.adapter = nn.Linear(width, width)

    def forward(self, student_outputs: Any, teacher_outputs: Any, batch: Batch) -> dict[str, Tensor]:
        (mine,), (theirs,) = student_outputs['tap'], teacher_outputs['tap']
        mine = self.adapter(mine) if self.with_adapter else mine
        return {'loss_gap': self.factor * (mine - theirs).square().mean()}


@OPTIM_WRAPPERS.register_module(force=True)
class CpuAmpOptimWrapper(AmpOptimWrapper):
    """The wrapper for mixed precision with a scaler that works on the CPU."""

    def __init__(self, init_scale: float = 2.0**10, **kwargs: Any) -> None:
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param = None
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=init_scale)
        self.cast_dtype = torch.bfloat16


GAP: dict[str, Any] = {'type': 'kd_plugins.TinyGap'}
ADAPTED: dict[str, Any] = {**GAP, 'adapter': True}
EMA: dict[str, Any] = {'type': 'kd_plugins.EMATeacher', 'momentum': 0.5}


def loader_of(dataset: Any, sampler: str = 'DefaultSampler', **changes: Any) -> dict[str, Any]:
    """Return the config of a loader that gives batches of two in random order."""
    collate_fn = dict(type='default_collate')
    loader = dict(batch_size=2, num_workers=0, sampler=dict(type=sampler, shuffle=True), collate_fn=collate_fn)
    return {**loader, 'dataset': dataset, **changes}


ITERATIONS: dict[str, Any] = dict(
    train_cfg=dict(by_epoch=False, max_iters=10),
    train_dataloader=loader_of(Points(), 'InfiniteSampler'),
    param_scheduler=None,
)
"""Settings of a loop of 10 iterations, in which four make one pass over the data."""


class Recorder(Hook):
    """Keep the losses of every iteration; stop at one like an interrupted run."""

    priority = 'LOWEST'

    def __init__(self, stop_at: int | None = None) -> None:
        self.losses: list[dict[str, float]] = []
        self.stop_at = stop_at

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append({key: float(value.detach()) for key, value in outputs.items()})
        if self.stop_at == runner.iter + 1:
            raise KeyboardInterrupt('stopped by the test')


def make_runner(work_dir: Path, hooks: list[Any], epochs: int = 2, **settings: Any) -> Runner:
    """Build a runner with four iterations an epoch.

    Args:
        work_dir: Its folder.
        hooks: Custom hooks.
        epochs: Length of the training.
        settings: Further arguments of the runner, in place of the usual ones.
    """
    torch.manual_seed(0)
    usual: dict[str, Any] = dict(
        model=TinyStudent(),
        train_dataloader=loader_of(Points()),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=3),
            dict(type='MultiStepLR', by_epoch=True, milestones=[1], gamma=0.5),
        ],
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        randomness=dict(seed=3),
        # MMEngine keeps loggers by name for the whole process.
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}',
        log_level='ERROR',
    )
    return Runner(work_dir=str(work_dir), **{**usual, **settings})


def losses_of(work_dir: Path, hooks: list[Any], stop_at: int | None = None, **settings: Any) -> list[dict[str, float]]:
    """Train, or resume, and return the losses of every iteration."""
    recorder = Recorder(stop_at)
    runner = make_runner(work_dir, [*hooks, recorder], **settings)
    try:
        runner.train()
    except KeyboardInterrupt:
        assert stop_at is not None
    return recorder.losses
