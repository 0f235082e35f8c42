"""Runs of label-guided self-distillation: ranks, resume, the plain checkpoint, and a frozen start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')
import torch
import torch.distributed as dist
from mmengine.registry import MODELS

from kd_plugins.hooks import DistillHook
from kd_plugins.utils.safe_load import load_safely
from tests.integration.halves import MODEL, assert_close, assert_equals_whole
from tests.integration.runs import Recorder, Squares, assert_same, make_runner, model_config, weights
from tests.ranks import on_two_ranks

GUIDE: dict[str, Any] = dict(type='kd_plugins.LabelGuidedDistiller', encoder_width=0.125, begin=0.25)
# Adam divides by the size of the gradient, which would enlarge rounding errors.
SGD: dict[str, Any] = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9))
NAMES = ('distill.guide.loss_feat', 'distill.guide.loss_head')


class Weights(Recorder):
    """Keep the weights of the distillers after each step."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        hook = next(hook for hook in runner.hooks if isinstance(hook, DistillHook))
        assert hook.session is not None
        self.adapters = weights(hook.session.distillers)


def train(work_dir: Path, batch_size: int, accumulate: int = 1, context: bool = False) -> dict[str, Any]:
    """Train for four iterations, on this rank where there are several; return losses and final weights."""
    recorder = Weights()
    settings: dict[str, Any] = {}
    if dist.is_initialized():
        wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
        settings = dict(launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
    runner = make_runner(
        work_dir,
        {'guide': {**GUIDE, 'context': context}},
        batch_size=batch_size,
        model=MODEL,
        dataset=Squares(8, empty=True),
        hooks=[recorder],
        distill=dict(freeze=dict(parts=['backbone.layer1'], until=0.5)),
        optim_wrapper={**SGD, 'accumulative_counts': accumulate},
        **settings,
    )
    runner.train()
    model = runner.model.module if dist.is_initialized() else runner.model
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return {'losses': recorder.losses, 'weights': weights(model), 'adapters': recorder.adapters}


def _half(work_dir: Path, accumulate: int) -> dict[str, Any]:
    return train(work_dir / 'half', 2, accumulate)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize('accumulate', [1, 2])
def test_two_halves_equal_the_whole(tmp_path: Path, accumulate: int) -> None:
    whole = train(tmp_path / 'one', 4, accumulate)
    assert all(losses[name] > 0 for losses in whole['losses'] for name in NAMES)
    ranks = on_two_ranks(tmp_path, _half, tmp_path, accumulate)
    assert_equals_whole(ranks, whole)
    assert_close(ranks[0]['adapters'], whole['adapters'])
    assert_same(ranks[0]['adapters'], ranks[1]['adapters'])


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    options: dict[str, Any] = dict(dataset=Squares(8, empty=True, augment=True), distill=dict(freeze=None))
    whole, cut, rest = Recorder(), Recorder(kill_at=2), Recorder()
    runner = make_runner(tmp_path / 'whole', {'guide': GUIDE}, hooks=[whole], **options)
    runner.train()
    with pytest.raises(KeyboardInterrupt):
        make_runner(tmp_path / 'cut', {'guide': GUIDE}, hooks=[cut], **options).train()
    resumed = make_runner(tmp_path / 'cut', {'guide': GUIDE}, hooks=[rest], resume=True, **options)
    resumed.train()
    assert cut.losses[:2] + rest.losses == whole.losses
    assert_same(weights(resumed.model), weights(runner.model))
    # The checkpoint is that of the plain model, and what LGD adds lies apart.
    saved = load_safely(tmp_path / 'cut' / 'epoch_2.pth')
    MODELS.build(model_config()).load_state_dict(saved['state_dict'], strict=True)
    adapters = saved['distill']['distillers']
    assert all(name.startswith(('members.guide.instructor.', 'members.guide.adapter.')) for name in adapters)
    assert saved['distill']['optimizer']['state'] and all(torch.isfinite(one).all() for one in adapters.values())
