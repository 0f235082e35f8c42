"""The distiller that the documentation shows works, as a user's own module would."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.session import DistillSession
from kd_plugins.teachers import EMATeacher

EXAMPLES = Path(__file__).resolve().parents[2] / 'docs' / 'examples'


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'docs_example_{name}', EXAMPLES / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def example() -> ModuleType:
    return load('attention_distiller')


class Student(nn.Module):
    """The least that the hook needs of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.neck = nn.Module()
        self.neck.fpn_convs = nn.ModuleList(nn.Conv2d(3, 4, 3, stride=stride) for stride in (1, 2))

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = [conv(inputs) for conv in self.neck.fpn_convs]
        return (
            {'loss_task': torch.stack([output.square().mean() for output in outputs]).sum()}
            if mode == 'loss'
            else outputs
        )


def test_forty_lines() -> None:
    assert len((EXAMPLES / 'attention_distiller.py').read_text(encoding='utf-8').splitlines()) <= 40


def test_value_by_hand(example: ModuleType) -> None:
    distiller = example.AttentionDistiller()
    student, teacher = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 2.0]]]])
    losses = distiller({'features': [student]}, {'features': [teacher]}, Batch(student, None))
    # Attention maps (1, 0) and (0, 1): mean squared difference 1.
    assert losses['loss_attention'].item() == pytest.approx(1.0)
    assert (
        distiller({'features': [student]}, {'features': [3 * student]}, Batch(student, None))['loss_attention'].item()
        == 0
    )


def test_from_config_to_gradient(example: ModuleType) -> None:
    torch.manual_seed(0)
    config = dict(type='kd_plugins.AttentionDistiller', taps='neck.fpn_convs.*', weight=10.0)
    hook = DistillHook(distillers=dict(attention=config))
    student, teacher = Student(), EMATeacher()
    teacher.prepare(student)
    with torch.no_grad():
        for param in teacher.model.parameters():
            param.add_(torch.randn_like(param))
    session = DistillSession(student, hook.distillers, {'teacher': teacher}, lambda: None)
    session.weights = {'attention': 10.0}
    losses = student(torch.randn(2, 3, 8, 8), None, mode='loss')
    assert set(losses) == {'loss_task', 'distill.attention.loss_attention'}
    losses['distill.attention.loss_attention'].backward()
    assert all(
        param.grad is not None and param.grad.abs().sum() > 0
        for name, param in student.named_parameters()
        if 'weight' in name
    )
    assert all(param.grad is None for param in teacher.model.parameters())
    session.detach()


def test_other_sizes_are_refused(example: ModuleType) -> None:
    distiller = example.AttentionDistiller()
    with pytest.raises(ConfigError, match=r'taps: the student gives \(1, 2, 4, 4\), the teacher \(1, 2, 8, 8\)'):
        distiller.initialize({'features': [torch.zeros(1, 2, 4, 4)]}, {'features': [torch.zeros(1, 2, 8, 8)]})


def test_schedules_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    load('plot_schedules').draw(tmp_path / 'schedules.png')
    assert (tmp_path / 'schedules.png').stat().st_size > 10_000
