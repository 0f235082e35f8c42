"""A backbone that teaches a detector of MMDetection: its losses, checkpoints and a resumed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.runner.steps import distill_hook

from .runs import Recorder, Squares, assert_same, make_runner, model_config, weights

pytest.importorskip('mmdet')
OWN = {'mean': [64.0] * 3, 'std': [64.0] * 3, 'channel_order': 'bgr'}
"""Normalisation of the students in these tests."""


def distillers(**settings: Any) -> dict[str, Any]:
    return {'features': {'type': 'kd_plugins.FeatureDistiller', 'weight': 0.5, **settings}}


def run(work_dir: Path, parts: Any, teacher: Any, kill_at: int | None = None, **settings: Any) -> tuple[Any, Any]:
    recorder = Recorder(kill_at)
    settings = {'dataset': Squares(4), 'batch_size': 2, 'epochs': 1, 'model': model_config('GN'), **settings}
    runner = make_runner(work_dir, parts, teacher, hooks=[recorder], **settings)
    if kill_at is None:
        runner.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    return runner, recorder.losses


def test_a_frozen_copy_of_the_student_teaches_nothing(tmp_path: Path) -> None:
    model = model_config('GN')
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.save({'state_dict': MODELS.build(model).state_dict()}, tmp_path / 'start.pth')
    teacher = {
        'type': 'kd_plugins.BackboneTeacher',
        'model': model['backbone'],
        'checkpoint': str(tmp_path / 'start.pth'),
        'prefix': 'backbone.',
        **OWN,
    }
    parts = distillers(student_tap='backbone', teacher_tap='backbone')
    _, losses = run(tmp_path / 'run', parts, teacher, load_from=str(tmp_path / 'start.pth'))
    assert losses[0]['distill.features.loss_feat'] < 1e-10 < losses[-1]['distill.features.loss_feat']


def vit(tmp_path: Path) -> dict[str, Any]:
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    torch.save(timm.create_model('test_vit').state_dict(), tmp_path / 'vit.pth')
    model = {'type': 'kd_plugins.TimmBackbone', 'model': 'test_vit', 'out_indices': (3,)}
    return {
        'type': 'kd_plugins.BackboneTeacher',
        'model': {**model, 'options': {'dynamic_img_size': True}},
        'checkpoint': str(tmp_path / 'vit.pth'),
        'patch': 16,
    }


TOKENS = distillers(student_tap='neck.fpn_convs.1', teacher_tap='backbone', kind='cosine')


def test_tokens_teach_the_pyramid_and_leave_no_trace(tmp_path: Path) -> None:
    teacher = vit(tmp_path)
    _, losses = run(tmp_path / 'taught', TOKENS, teacher)
    assert all(0 < step['distill.features.loss_feat'] < 2 for step in losses) and len(losses) == 2
    with DefaultScope.overwrite_default_scope('mmdet'):
        plain = MODELS.build(model_config('GN'))
    checkpoint = torch.load(tmp_path / 'taught' / 'epoch_1.pth', weights_only=False)
    plain.load_state_dict(checkpoint['state_dict'])
    assert checkpoint['distill']['teachers']['teacher']['state'].keys() == {'folded'}
    adapter = sum(value.numel() for value in checkpoint['distill']['distillers'].values())
    assert adapter == 8 * 64 + 64, 'the adapter alone is kept'
    untaught, _ = run(tmp_path / 'plain', None, None)
    idle, _ = run(tmp_path / 'idle', distillers(**{**TOKENS['features'], 'weight': 0.0}), teacher)
    assert_same(weights(untaught.model), weights(idle.model))


def test_resume_reads_the_weights_again(tmp_path: Path) -> None:
    teacher = vit(tmp_path)
    whole, expected = run(tmp_path / 'whole', TOKENS, teacher, epochs=2)
    run(tmp_path / 'cut', TOKENS, teacher, epochs=2, kill_at=2)
    resumed, losses = run(tmp_path / 'cut', TOKENS, teacher, epochs=2, resume=True)
    assert losses == expected[2:]
    assert_same(weights(whole.model), weights(resumed.model))


def test_the_share_of_the_gradient_steers_the_weight(tmp_path: Path) -> None:
    share = {'type': 'kd_plugins.GradientShare', 'value': 1e-8, 'hold': 0, 'interval': 1, 'average': 1, 'begin': 1}
    parts = distillers(**{**TOKENS['features'], 'weight': share})
    teacher = vit(tmp_path)
    whole, expected = run(tmp_path / 'whole', parts, teacher, epochs=4)
    terms = [step['distill.features.loss_feat'] for step in expected]
    assert terms[0] == 0 and 0 < terms[1] < 1e-7, 'it begins at iteration 1'
    schedule: Any = distill_hook(whole).distillers['features'].schedule
    assert schedule.weight > 2e-8 and 0.02 < schedule.last < 0.4
    run(tmp_path / 'cut', parts, teacher, epochs=4, kill_at=5)
    saved = torch.load(tmp_path / 'cut' / 'epoch_2.pth', weights_only=False)['distill']['weights']
    assert saved['features']['weight'] > 2e-8
    resumed, losses = run(tmp_path / 'cut', parts, teacher, epochs=4, resume=True)
    assert losses == expected[4:]
    assert_same(weights(whole.model), weights(resumed.model))
