"""Runs of a small DAB-DETR asked about its teacher's queries: ranks, gradient accumulation, unlabelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.integration.halves import assert_equals_whole
from tests.integration.runs import EMA, Recorder, Squares, make_runner, weights
from tests.models.dfine.small_detectors import build, config
from tests.ranks import on_two_ranks

QUERIES: dict[str, Any] = {'type': 'kd_plugins.QueryDistiller', 'points': ('specific',), 'weight': 0.5}
SGD: dict[str, Any] = {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.02, 'momentum': 0.9}}


def model_config() -> dict[str, Any]:
    """Return a detector without batch statistics, and without its own losses, which each rank normalises by itself."""
    model = config('dab', fdr=False)
    model['backbone'].update(norm_eval=True)
    model['bbox_head']['num_classes'] = 2
    for name in ('loss_cls', 'loss_bbox', 'loss_iou'):
        model['bbox_head'][name]['loss_weight'] = 0.0
    return model


def save_teacher(path: Path) -> None:
    """Save weights with noise, as the first boxes of new detectors are all those of the queries."""
    network = build(model_config())
    generator = torch.Generator().manual_seed(1)
    state = {
        name: value + 0.05 * torch.randn(value.shape, generator=generator) if name.startswith('bbox_head') else value
        for name, value in network.state_dict().items()
    }
    torch.save({'state_dict': state}, path)


def train(work_dir: Path, batch_size: int, accumulate: int = 1) -> dict[str, Any]:
    """Train for an epoch, on this rank where there are several; return losses and final weights."""
    recorder, model = Recorder(), model_config()
    settings: dict[str, Any] = {'optim_wrapper': {**SGD, 'accumulative_counts': accumulate}}
    if dist.is_initialized():
        wrapper = {'type': 'MMDistributedDataParallel', 'device_ids': None}
        settings |= {'launcher': 'pytorch', 'cfg': {'model_wrapper_cfg': wrapper}}
    checkpoint = str(work_dir.parent / 'teacher.pth')
    teacher = {'type': 'kd_plugins.FrozenTeacher', 'config': {'model': model}, 'checkpoint': checkpoint}
    options = dict(model=model, dataset=Squares(8, empty=True), epochs=2, batch_size=batch_size, hooks=[recorder])
    runner = make_runner(work_dir, {'queries': QUERIES}, teacher, **options, **settings)
    runner.train()
    network = runner.model.module if dist.is_initialized() else runner.model
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    return {'losses': recorder.losses, 'weights': weights(network)}


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize('accumulate', [1, 2])
def test_two_halves_equal_the_whole(tmp_path: Path, accumulate: int) -> None:
    save_teacher(tmp_path / 'teacher.pth')
    whole = train(tmp_path / 'one', 4, accumulate)
    assert all(losses['distill.queries.loss_bbox'] > 0 for losses in whole['losses'])
    assert whole['losses'][-1]['distill.queries.loss_bbox'] < whole['losses'][0]['distill.queries.loss_bbox']
    assert_equals_whole(on_two_ranks(tmp_path, _half, tmp_path, accumulate), whole)


def _half(work_dir: Path, accumulate: int) -> dict[str, Any]:
    return train(work_dir / 'half', 2, accumulate)


@pytest.mark.slow
def test_unlabelled_images(tmp_path: Path) -> None:
    recorder = Recorder()
    loader = {'batch_size': 2, 'dataset': Squares(), 'collate_fn': 'pseudo_collate'}
    general = {'type': 'kd_plugins.QueryDistiller', 'general': 7, 'on': 'unlabelled'}
    runner = make_runner(
        tmp_path / 'run',
        {'queries': QUERIES, 'unlabelled': general},
        EMA,
        model=config('dab', fdr=False, **{'bbox_head.num_classes': 2}),
        epochs=1,
        hooks=[recorder],
        distill={'unlabelled': {'dataloader': loader, 'weight': 1.0}},
    )
    runner.train()
    assert len(recorder.losses) == 4
    for name in ('queries', 'unlabelled'):
        for loss in ('loss_cls', 'loss_bbox', 'loss_iou'):
            assert recorder.losses[-1][f'distill.{name}.{loss}'] > 0
    assert all(torch.isfinite(value).all() for value in weights(runner.model).values())
