"""The average of EMAHook as a network: its checks, and the copy before its first update."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from mmengine.model import ExponentialMovingAverage

from kd_plugins.errors import ConfigError
from kd_plugins.teachers import EMATeacher
from kd_plugins.teachers.shared_average import SharedAverage
from tests.teachers.networks import TinyNet, same, step


def test_the_first_copy_is_made_once() -> None:
    student = TinyNet()
    averaged = ExponentialMovingAverage(student, momentum=0.1)
    step(student)
    average = SharedAverage(averaged, begin=0)
    assert average.network(student, 'teacher') is averaged.module and same(averaged.module, student)
    averaged.update_parameters(student)
    step(student)
    average.network(student, 'teacher')
    assert not same(averaged.module, student), 'an average that has begun is not changed'


def test_the_teacher_does_not_update_it() -> None:
    student = TinyNet()
    averaged = ExponentialMovingAverage(student, momentum=0.1)
    teacher = EMATeacher(share='EMAHook', begin=2)
    teacher.average = SharedAverage(averaged, begin=2)
    teacher.prepare(student)
    before = {name: tensor.clone() for name, tensor in averaged.module.state_dict().items()}
    ready = []
    for iteration in range(4):
        step(student)
        teacher.after_step(student, iteration)
        ready.append(teacher.ready)
    assert ready == [False, True, True, True] and teacher.state_dict() == {}
    assert all(torch.equal(before[name], tensor) for name, tensor in averaged.module.state_dict().items())


def test_a_copy_that_runs_the_student_is_refused() -> None:
    student = TinyNet()
    student.fc.forward = functools.partial(type(student.fc).forward, student.fc)  # type: ignore[method-assign]
    averaged = ExponentialMovingAverage(student)
    with pytest.raises(ConfigError, match=r"teacher.share is 'EMAHook', .* nearest: share=None"):
        SharedAverage(averaged, begin=0).network(student, 'teacher')


def test_another_device_is_refused() -> None:
    student = TinyNet()
    averaged = ExponentialMovingAverage(student, device=torch.device('meta'))
    with pytest.raises(ConfigError, match="average is on 'meta', and the student is on 'cpu'"):
        SharedAverage(averaged, begin=0).network(student, 'teacher')


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ({'share': 'EMA'}, "teacher.share is 'EMA'; .*'EMAHook'"),
        ({'share': 'EMAHook', 'momentum': 0.1}, 'teacher.momentum is 0.1, and share='),
        ({'share': 'EMAHook', 'warmup': 5}, 'teacher.warmup is 5'),
        ({'share': 'EMAHook', 'interval': 2}, 'remove interval here and set it in custom_hooks'),
    ],
)
def test_settings_without_effect(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        EMATeacher(**arguments)


def test_without_a_run_there_is_no_average() -> None:
    with pytest.raises(ConfigError, match='no DistillHook has found the EMAHook'):
        EMATeacher(share='EMAHook').prepare(TinyNet())
