"""Shipped distillation entries of native D-FINE train small students: other sizes, other families."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

pytest.importorskip('mmdet')

from kd_plugins.distillers import BaseDistiller
from kd_plugins.hooks.session import DistillSession
from kd_plugins.registry import MODELS
from kd_plugins.teachers import BackboneTeacher, BaseTeacher, FrozenTeacher
from tests.models.dfine.native.detectors import CLASSES, batch, small
from tools.analysis.dfine_twins import model_config, ours

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'dfine_native'


@MODELS.register_module(force=True)
class StridedMap(nn.Module):
    """A backbone with one map, in place of a foundation model."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 16, 16)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


def teacher_of(config: str) -> BaseTeacher:
    if config.startswith('rtdetrv4'):
        return BackboneTeacher(dict(type='StridedMap'), pool=2, patch=16)
    model = model_config('dfine_s', **{'bbox_head.num_classes': CLASSES, 'num_queries': 30})
    return FrozenTeacher({'model': model, 'default_scope': 'mmdet'}, None, seed=5)


@pytest.mark.parametrize(
    ('config', 'size'),
    [('dfine-s_dfine-n_bccd.py', 'n'), ('dfine-x_dfine-s_coco.py', 's'), ('rtdetrv4_s_coco.py', 'n')],
)
def test_the_entry_trains_the_student_alone(config: str, size: str) -> None:
    entries: Any = copy.deepcopy(Config.fromfile(CONFIGS / config).default_hooks.distill.distillers.to_dict())
    student = small(build=partial(ours, size))
    teacher = teacher_of(config)
    teacher.prepare(student)
    with torch.no_grad():  # the boxes of untrained detectors are alike
        for branch in getattr(getattr(teacher.model, 'bbox_head', None), 'reg_branches', []):
            for parameter in branch.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    kept = {name: value.clone() for name, value in teacher.model.state_dict().items() if 'running' not in name}
    for name, entry in entries.items():
        entry.update(weight=1.0, key=f'distillers.{name}')
    distillers: dict[str, BaseDistiller] = {name: MODELS.build(entry) for name, entry in entries.items()}
    session = DistillSession(student, distillers, {'teacher': teacher}, lambda: None)
    session.weights = dict.fromkeys(distillers, 1.0)
    data = batch(student, [2, 1])
    student(**data, mode='loss')  # the first pass makes the adapters
    optimizer = torch.optim.SGD([*student.parameters(), *session.distillers.parameters()], 1e-3)
    sums = []
    for _ in range(3):
        optimizer.zero_grad()
        torch.manual_seed(0)
        losses = student(**data, mode='loss')
        terms = {name: value for name, value in losses.items() if name.startswith('distill.')}
        assert {name.split('.')[1] for name in terms} == set(entries)
        assert all(value > 0 and value.isfinite() for value in terms.values())
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        assert student.backbone.stages[3].blocks[0].layers[0].conv1.conv.weight.grad.any()
        optimizer.step()
        sums.append(float(total.detach()))
    assert sums[-1] < sums[0]
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    after = teacher.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in kept.items() if name in after and 'head' in name)
    session.detach()
