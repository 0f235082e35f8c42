"""The loaded student as teacher of its restarted parts: what is shared, copied, replayed and saved."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.restart import frozen_modules
from kd_plugins.taps import TapSet
from kd_plugins.teachers import FinishedTeacher
from tests.versioned import Versioned


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
    assert teacher.state_dict()['model'].keys() == {'head.weight', 'head.bias'}


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
    state = copy.deepcopy(first.state_dict())
    with torch.no_grad():
        student.head.weight.add_(1)
    resumed = prepared(student)
    resumed.load_state_dict(state)
    assert torch.equal(resumed.model.head.weight, state['model']['head.weight'])
    with pytest.raises(ConfigError, match="the resumed checkpoint holds no trained 'head.weight'"):
        resumed.load_state_dict({'model': {'neck.weight': torch.zeros(1)}, 'folded': None})


def test_a_resume_with_fewer_parts_leaves_the_student_alone(student: Student) -> None:
    student.neck = nn.Linear(3, 3)
    first = FinishedTeacher()
    first.frozen = frozen_modules(student, ['head', 'neck'])
    first.prepare(student)
    state = copy.deepcopy(first.state_dict())
    with torch.no_grad():
        student.neck.weight.add_(1)  # it was trained
    trained, resumed = student.neck.weight.clone(), prepared(student)
    with pytest.raises(ConfigError, match=r"'neck\.weight', which does not restart in this run"):
        resumed.load_state_dict(state)
    assert torch.equal(student.neck.weight, trained)


def test_a_resume_copies_weights_as_they_are(student: Student) -> None:
    student.backbone.append(Versioned(3, 3))
    student.head = Versioned(3, 2)
    state = copy.deepcopy(prepared(student).state_dict())
    weights = copy.deepcopy(student.state_dict())
    resumed = prepared(student)
    resumed.load_state_dict(state)
    for model in (student, resumed.model):
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    state['model']['head.bias'] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"'head.bias' has shape \(1,\) there and \(2,\) here"):
        resumed.load_state_dict(state)


def test_without_a_restart_there_is_nothing_to_teach(student: Student) -> None:
    with pytest.raises(ConfigError, match=r'default_hooks.distill.restart is None; nearest: restart=dict'):
        FinishedTeacher().prepare(student)


class ConvStudent(Student):
    """Convolutions with BatchNorm in the backbone and in the head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
        self.head[1].running_mean.fill_(0.5)


def test_only_the_copied_parts_are_folded_and_their_weights_are_saved() -> None:
    torch.manual_seed(0)
    student = ConvStudent().eval()
    images = torch.randn(2, 1, 3, 3)
    expected, before = student(images), copy.deepcopy(student.state_dict())
    teacher = prepared(student)
    saved = copy.deepcopy(teacher.state_dict()['model'])
    taps = TapSet(teacher.model, {'key': 'head'})
    for _ in range(2):
        teacher.before_student()
        student(images)
        teacher.run((images,), {}, taps)
        torch.testing.assert_close(taps.read('head')[0], expected)
    assert isinstance(teacher.model.head[1], nn.Identity) and isinstance(student.backbone[1], nn.BatchNorm2d)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    state = teacher.state_dict()
    assert (
        state['folded'] == {'pairs': [['head.0', 'head.1']], 'channels_last': False}
        and state['model'].keys() == saved.keys()
    )
    assert all(torch.equal(value, saved[name]) for name, value in state['model'].items())
    resumed = prepared(student)
    resumed.load_state_dict(state)
    taps = TapSet(resumed.model, {'key': 'head'})
    resumed.run((images,), {}, taps)
    torch.testing.assert_close(taps.read('head')[0], expected)
    assert resumed.state_dict()['folded'] == state['folded']
