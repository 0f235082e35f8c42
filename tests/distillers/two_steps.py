"""Two training steps of a small detector of a shipped config, on generated images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.config.loading import load_config, register_scope
from kd_plugins.distillers import BaseDistiller
from kd_plugins.hooks.session import DistillSession
from kd_plugins.registry import MODELS
from kd_plugins.teachers import BaseTeacher, EMATeacher, FrozenTeacher

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@dataclass
class Steps:
    """What two steps left."""

    student: nn.Module
    teacher: nn.Module
    terms: dict[str, float]
    """Key of each term to its value in the second step."""

    def reached(self, name: str) -> bool:
        """Whether a parameter of the student has a gradient from the terms alone."""
        gradient = self.student.get_parameter(name).grad
        return gradient is not None and bool(gradient.abs().sum() > 0)


def small_detector(model: Any) -> tuple[Any, Any]:
    """Return a detector from the config of its model, and a batch of two images with boxes and masks."""
    pytest.importorskip('mmdet')
    from mmdet.testing import demo_mm_inputs
    from mmengine.registry import DefaultScope

    register_scope('mmdet')
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        network = MODELS.build(copy.deepcopy(model))
        network.init_weights()
    batch = demo_mm_inputs(
        batch_size=2, image_shapes=[(3, 96, 128)] * 2, num_items=[3, 0], num_classes=3, with_mask=True
    )
    return network, batch


def two_steps(config: Any, entries: dict[str, Any], teacher: str = 'frozen', samples: Any = None) -> Steps:
    """Train a detector for two steps with distillation alone.

    Args:
        config: Path of a shipped config, or the config of a model.
        entries: Name to config of each distiller.
        teacher: ``'ema'``, whose weights differ by a step that is given to it, or ``'frozen'`` with other weights.
        samples: Changes the data samples of the batch; None leaves them as they are.
    """
    model = load_config(str(CONFIGS / config)).model if isinstance(config, str) else config
    student, batch = small_detector(model)
    batch = samples(batch) if samples is not None else batch
    one: BaseTeacher = (
        EMATeacher() if teacher == 'ema' else FrozenTeacher({'model': model, 'default_scope': 'mmdet'}, None, seed=5)
    )
    one.prepare(student, build_model=None)
    if teacher == 'ema':
        with torch.no_grad():
            for param in one.model.parameters():
                param.add_(0.05 * torch.randn_like(param))
    distillers: dict[str, BaseDistiller] = {
        name: MODELS.build({**entry, 'key': f'distillers.{name}'}) for name, entry in entries.items()
    }
    reports: list[Any] = []
    session = DistillSession(student, distillers, {'teacher': one}, lambda: None, [reports.append])
    session.weights = dict.fromkeys(distillers, 1.0)
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    student.train()
    optimizer = torch.optim.SGD(student.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        data = student.data_preprocessor(copy.deepcopy(batch), True)
        losses = student(**data, mode='loss')
        torch.stack([value for name, value in losses.items() if name.startswith('distill.')]).sum().backward()
        optimizer.step()
    session.detach()
    for network in (student, one.model):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    # Layers of the backbone may have been folded; the head stays as it is.
    after = {name: value for name, value in one.model.state_dict().items() if 'head' in name}
    assert after and all(torch.equal(value, before[name]) for name, value in after.items())
    assert all(param.grad is None for param in one.model.parameters())
    return Steps(student, one.model, {term.key: float(term.raw) for term in reports[-1].terms})
