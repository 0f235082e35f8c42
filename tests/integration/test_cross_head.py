"""Runs with a teacher that is asked about the student's features: ranks, gradient accumulation, unlabelled images."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import Hook

from kd_plugins.hooks import DistillHook
from tests.integration.halves import MODEL, assert_close
from tests.integration.runs import EMA, Recorder, Squares, make_runner, weights
from tests.ranks import on_two_ranks

# Other widths in the head, so that the student's features have an adapter.
WIDE = copy.deepcopy(MODEL)
WIDE['bbox_head']['feat_channels'] = 12
TEACHER = {'type': 'kd_plugins.FrozenTeacher', 'config': {'model': WIDE}, 'checkpoint': None}
CROSS: dict[str, Any] = {'type': 'kd_plugins.CrossHeadDistiller', 'index': 1, 'weight': 0.5}
# Adam divides by the size of the gradient, which would enlarge rounding errors.
SGD: dict[str, Any] = {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.02, 'momentum': 0.9}}


class Adapters(Hook):
    """Keep the weights of the adapters after each step."""

    priority = 'VERY_LOW'

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        hook = next(hook for hook in runner.hooks if isinstance(hook, DistillHook))
        assert hook.session is not None
        self.weights = weights(hook.session.distillers)


def train(work_dir: Path, batch_size: int, **options: Any) -> dict[str, Any]:
    """Train for an epoch; return the losses of each iteration, the final weights and those of the adapters."""
    recorder, adapters = Recorder(), Adapters()
    settings: dict[str, Any] = {'model': MODEL, 'optim_wrapper': SGD, 'dataset': Squares(empty=True), 'epochs': 1}
    if dist.is_initialized():
        settings['launcher'] = 'pytorch'
        settings['cfg'] = {'model_wrapper_cfg': {'type': 'MMDistributedDataParallel', 'device_ids': None}}
    settings.update(options)
    hooks = [recorder, adapters]
    runner = make_runner(work_dir, {'cross': CROSS}, TEACHER, batch_size=batch_size, hooks=hooks, **settings)
    runner.train()
    model = runner.model.module if dist.is_initialized() else runner.model
    return {'losses': recorder.losses, 'weights': weights(model), 'adapters': adapters.weights}


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize('accumulate', [1, 2])
def test_two_halves_equal_the_whole(tmp_path: Path, accumulate: int) -> None:
    options = {'optim_wrapper': {**SGD, 'accumulative_counts': accumulate}}
    whole = train(tmp_path / 'one', 4, **options)
    assert all(losses['distill.cross.loss_cls'] > 0 for losses in whole['losses'])
    assert sorted(whole['adapters'])[0] == 'members.cross.adapters.cls.projection.bias'
    first, second = on_two_ranks(tmp_path, _half, tmp_path, options)
    assert_close(first['weights'], whole['weights'])
    assert_close(first['adapters'], whole['adapters'])
    assert all(torch.equal(value, second['weights'][name]) for name, value in first['weights'].items())
    for mine, other, expected in zip(first['losses'], second['losses'], whole['losses']):
        for key in ('distill.cross.loss_cls', 'distill.cross.loss_reg'):
            assert (mine[key] + other[key]) / 2 == pytest.approx(expected[key], rel=1e-3, abs=1e-6)


def _half(work_dir: Path, options: dict[str, Any]) -> dict[str, Any]:
    return train(work_dir / 'half', 2, **options)


@pytest.mark.slow
def test_unlabelled_images(tmp_path: Path) -> None:
    recorder = Recorder()
    loader = {'batch_size': 2, 'dataset': Squares(), 'collate_fn': 'pseudo_collate'}
    entry = {**CROSS, 'on': 'unlabelled', 'normalizer': 'confidence'}
    runner = make_runner(
        tmp_path / 'run',
        {'cross': entry, 'labelled': CROSS},
        EMA,
        epochs=1,
        hooks=[recorder],
        distill={'unlabelled': {'dataloader': loader, 'weight': 1.0}},
    )
    runner.train()
    assert len(recorder.losses) == 4
    # The average equals the student at first, and differs from it after the first step.
    for key in ('distill.cross.loss_cls', 'distill.cross.loss_reg', 'distill.labelled.loss_reg'):
        assert recorder.losses[-1][key] > 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in runner.model.modules())
