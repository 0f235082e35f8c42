"""What every teacher does: a copy in eval mode without gradient, on inputs of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.teachers import BaseTeacher, EMATeacher
from kd_plugins.teachers.base import copy_inputs
from tests.teachers.networks import TinyNet, same, step


def test_teacher_is_frozen_and_independent() -> None:
    student = TinyNet()
    student(torch.randn(8, 2)).sum().backward()
    teacher = EMATeacher()
    teacher.prepare(student)
    assert same(teacher.model, student)
    assert not teacher.model.training and all(
        not p.requires_grad and p.grad is None for p in teacher.model.parameters()
    )
    step(student)
    assert not same(teacher.model, student)
    teacher.model.train()
    before = teacher.model.norm.running_mean.clone()
    teacher.run((torch.randn(8, 2),), {'mode': 'loss'})
    assert torch.equal(teacher.model.norm.running_mean, before), 'run() goes back to eval mode'


@pytest.mark.parametrize('mode', ['tensor', 'loss', 'predict'])
def test_the_network_runs_in_the_mode_of_the_teacher(mode: str) -> None:
    class Listening(TinyNet):
        def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
            calls.append((mode, data_samples, torch.is_grad_enabled()))

    calls: list[Any] = []
    teacher = EMATeacher(mode=mode)
    teacher.prepare(Listening())
    teacher.run((torch.zeros(2, 2),), {'data_samples': ['a', 'b'], 'mode': 'loss'})
    assert calls == [(mode, ['a', 'b'], False)]


def test_extract_feat_stops_after_the_features() -> None:
    teacher = EMATeacher(mode='extract_feat')
    teacher.prepare(TinyNet())
    ran: list[str] = []
    teacher.model.fc.register_forward_hook(lambda *call: ran.append('fc'))
    teacher.model.norm.register_forward_hook(lambda *call: ran.append('norm'))
    teacher.run((torch.zeros(2, 2), None, 'loss'), {})
    assert ran == ['fc']


def test_a_teacher_that_writes_into_its_inputs_leaves_the_students() -> None:
    class Writer(TinyNet):
        def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
            inputs['voxels']['voxels'].add_(1)
            return inputs

    teacher = EMATeacher()
    teacher.prepare(Writer())
    inputs = {'points': [torch.zeros(3, 4)], 'voxels': {'voxels': torch.zeros(2, 3)}}
    teacher.run((inputs,), {'mode': 'loss'})
    assert torch.equal(inputs['voxels']['voxels'], torch.zeros(2, 3))


def test_a_tensor_of_images_is_not_copied() -> None:
    images = torch.zeros(2, 3)
    assert copy_inputs(images) is images
    points = [torch.zeros(3)]
    copied = copy_inputs({'points': points, 'name': 'a'})
    assert copied['name'] == 'a' and copied['points'][0] is not points[0]


@pytest.mark.parametrize(
    ('mode', 'sentence'),
    [
        ('tensors', "teacher.mode is 'tensors'; nearest: 'tensor'"),
        (None, "teacher.mode is None; valid: 'tensor', 'loss'"),
    ],
)
def test_unknown_modes(mode: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        EMATeacher(mode=mode)


def test_a_teacher_without_a_network_says_so() -> None:
    with pytest.raises(ConfigError, match='EMATeacher was asked for its model before training began'):
        EMATeacher().model
    with pytest.raises(ConfigError, match='teachers.mine: BaseTeacher must define prepare'):
        BaseTeacher(key='teachers.mine').prepare(TinyNet())
