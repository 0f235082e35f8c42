"""A detector that learns from pseudo labels of the average that EMAHook evaluates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.registry import init_default_scope

from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.testing.detection import GeneratedDetection
from tests.hooks.tiny_runs import losses_of
from tests.pseudo_labels.networks import detector


def _loader(**dataset: Any) -> dict[str, Any]:
    generated = dict(type=GeneratedDetection, classes=('a', 'b', 'c'), size=(64, 96), num_items=4)
    return dict(batch_size=2, num_workers=0, dataset={**generated, **dataset})


def _run(folder: Path, **settings: Any) -> tuple[list[dict[str, float]], DistillHook]:
    init_default_scope('mmdet')
    distill = DistillHook(
        {},
        dict(type='kd_plugins.EMATeacher', share='EMAHook', begin=1),
        unlabelled=dict(
            dataloader=_loader(length=6),
            weight=2.0,
            pseudo=dict(
                type='kd_plugins.PseudoLabels', score_thr=dict(type='adaptive', initial=0.0, queue=8, expected=False)
            ),
        ),
        log_interval=1,
    )
    loader = {**_loader(length=4), 'sampler': dict(type='DefaultSampler', shuffle=True)}
    hooks = [EpochSeedHook(), EMAHook(momentum=0.1), distill]
    losses = losses_of(
        folder,
        hooks,
        default_scope='mmdet',
        model=detector('retinanet'),
        train_dataloader=loader,
        param_scheduler=None,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.001)),
        **settings,
    )
    return losses, distill


def test_a_run_learns_from_pseudo_labels_and_resumes_equal(tmp_path: Path) -> None:
    whole, distill = _run(tmp_path / 'whole', epochs=3)
    terms = [step['distill.pseudo.loss_cls'] for step in whole]
    assert terms[0] == 0.0 and all(value > 0 for value in terms[1:]), 'the teacher begins after the first iteration'
    assert distill.unlabelled is not None and distill.unlabelled.pseudo is not None
    monitors = distill.unlabelled.pseudo.monitors()
    assert any(name.startswith('score_thr.') for name in monitors) and float(monitors['kept']) > 0
    saved = torch.load(tmp_path / 'whole' / 'epoch_3.pth', weights_only=False)['distill']
    assert saved['pseudo']['scores'] and saved['teachers']['teacher']['state'] == {}
    _run(tmp_path / 'cut', epochs=3, stop_at=4)
    resumed, _ = _run(tmp_path / 'cut', epochs=3, resume=True)
    assert len(resumed) == 4 and resumed == whole[2:]
