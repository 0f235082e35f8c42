"""The loaded student as teacher of its restarted parts: what is shared, copied, replayed and saved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.restart import frozen_modules
from kd_plugins.teachers import FinishedTeacher


class Student(nn.Module):
    """A backbone that stays and a head that restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        self.head = nn.Linear(3, 1)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Tensor:
        return self.head(self.backbone(inputs))


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    return Student()


def prepared(student: Student) -> FinishedTeacher:
    teacher = FinishedTeacher()
    teacher.frozen = frozen_modules(student, ['head'])
    teacher.prepare(student)
    return teacher


def test_parts_are_copied_and_the_rest_is_shared(student: Student) -> None:
    teacher = prepared(student)
    assert teacher.model.backbone is student.backbone and teacher.model.head is not student.head
    assert teacher.state_dict().keys() == {'head.weight', 'head.bias'}


def test_the_backbone_runs_once_for_both(student: Student) -> None:
    teacher, calls = prepared(student), []
    student.backbone[0].register_forward_hook(lambda *call: calls.append('backbone'))
    outputs: list[Tensor] = []
    teacher.model.head.register_forward_hook(lambda module, args, output: outputs.append(output))
    images = torch.randn(4, 2)
    expected = student(images)
    calls.clear()
    with torch.no_grad():
        student.head.weight.zero_()
    teacher.before_student()
    student(images)
    teacher.run((images,), {'mode': 'loss'})
    assert calls == ['backbone']
    assert torch.equal(outputs[0], expected) and not outputs[0].requires_grad
    assert 'forward' not in vars(student.backbone) and not student.backbone._forward_hooks


def test_other_inputs_run_the_backbone_again(student: Student) -> None:
    teacher, calls = prepared(student), []
    student.backbone[0].register_forward_hook(lambda *call: calls.append('backbone'))
    teacher.before_student()
    student(torch.randn(4, 2))
    teacher.run((torch.randn(4, 2),), {})
    assert calls == ['backbone', 'backbone']


def test_forgetting_removes_hooks_and_tensors(student: Student) -> None:
    teacher, calls = prepared(student), []
    images = torch.randn(4, 2)
    teacher.before_student()
    student(images)
    teacher.forget()
    assert not student.backbone._forward_hooks
    student.backbone[0].register_forward_hook(lambda *call: calls.append('backbone'))
    teacher.run((images,), {})
    assert calls == ['backbone'], 'nothing is left to replay'


def test_state_of_a_resumed_run(student: Student) -> None:
    first = prepared(student)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    with torch.no_grad():
        student.head.weight.add_(1)
    resumed = prepared(student)
    resumed.load_state_dict(state)
    assert torch.equal(resumed.model.head.weight, state['head.weight'])
    with pytest.raises(ConfigError, match="the resumed checkpoint holds no trained 'head.weight'"):
        resumed.load_state_dict({'neck.weight': torch.zeros(1)})


def test_without_a_restart_there_is_nothing_to_teach(student: Student) -> None:
    with pytest.raises(ConfigError, match=r'default_hooks.distill.restart is None; nearest: restart=dict'):
        FinishedTeacher().prepare(student)
