"""Runs whose validation gives prescribed scores, on data with a pipeline that can be switched."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import Compose
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MessageHub
from mmengine.model import is_model_wrapper
from mmengine.registry import METRICS, TRANSFORMS
from torch import Tensor, nn

from kd_plugins.hooks import EpochSeedHook, SecondStageHook
from kd_plugins.models.batch_resize import BatchListResize
from tests.hooks.tiny_runs import Points, TinyStudent, loader_of, make_runner

SCORES = (0.3, 0.5, 0.4, 0.45, 0.2, 0.1, 0.7)
"""Scores after each epoch. With a first stage of three epochs, epochs 4 and 7 begin from epoch 2."""


@TRANSFORMS.register_module(force=True)
class TinyShift:
    """Add a number to the inputs."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, results: dict[str, Tensor]) -> dict[str, Tensor]:
        return {'inputs': results['inputs'] + self.by}


class PipedPoints(Points):
    """Points that go through a pipeline."""

    def __init__(self) -> None:
        self.pipeline = Compose([dict(type='TinyShift', by=0.0)])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.pipeline(super().__getitem__(index))


@METRICS.register_module(force=True)
class PrescribedScore(BaseMetric):
    """The score of the epoch that has just ended, whatever the predictions."""

    def __init__(self, scores: Any = SCORES) -> None:
        super().__init__()
        self.scores = scores

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'score': self.scores[MessageHub.get_current_instance().get_info('epoch')]}


class NormedStudent(TinyStudent):
    """A student with statistics of BatchNorm, and with a preprocessor that would change the size of images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.data_preprocessor.batch_augments = nn.ModuleList([BatchListResize([32])])

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = self.second(self.dropout(self.norm(self.first(inputs)).relu()))
        return {'loss_task': outputs.square().mean()} if mode == 'loss' else outputs


class States(Hook):
    """Keep weights, average, moments, learning rate and pipeline at the begin and at the end of every epoch."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.begins: dict[int, dict[str, Tensor]] = {}
        self.ends: dict[int, dict[str, Tensor]] = {}
        self.rates: dict[int, float] = {}
        self.shifts: dict[int, float] = {}

    def _state(self, runner: Any) -> dict[str, Tensor]:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        average = next(hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))
        parts = {'model': model.state_dict(), 'average': average.state_dict()}
        moments = runner.optim_wrapper.optimizer.state_dict()['state']
        parts['moments'] = {str(index): entry['momentum_buffer'] for index, entry in moments.items()}
        return copy.deepcopy(
            {f'{part}.{name}': value for part, state in parts.items() for name, value in state.items()}
        )

    def before_train_epoch(self, runner: Any) -> None:
        self.begins[runner.epoch] = self._state(runner)
        self.rates[runner.epoch] = runner.optim_wrapper.get_lr()['lr'][0]
        self.shifts[runner.epoch] = runner.train_dataloader.dataset.pipeline.transforms[0].by

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self.ends[runner.epoch] = self._state(runner)


def staged_runner(work_dir: Path, hooks: list[Any] | None = None, **settings: Any) -> Any:
    """Build a run of seven epochs, three of them in the first stage; ``stage`` changes the hook of the second one."""
    stage: dict[str, Any] = dict(stop_epoch=3, pipeline=[dict(type='TinyShift', by=2.0)], metric='score')
    stage.update(settings.pop('stage', {}))
    torch.manual_seed(1)
    usual: dict[str, Any] = dict(
        model=NormedStudent(),
        train_dataloader=loader_of(PipedPoints()),
        val_dataloader=loader_of(Points()),
        val_cfg=dict(),
        val_evaluator=dict(type='PrescribedScore'),
        param_scheduler=[dict(type='MultiStepLR', by_epoch=True, milestones=[3], gamma=0.1)],
    )
    average = EMAHook(momentum=0.3, update_buffers=True)
    every = [EpochSeedHook(), average, SecondStageHook(**stage), *(hooks or [])]
    return make_runner(work_dir, every, 7, **{**usual, **settings})
