"""The average of the student: its rule, its beginning, its state and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import ExponentialMovingAverage

from kd_plugins.errors import ConfigError
from kd_plugins.teachers import EMATeacher
from tests.teachers.networks import TinyNet, same, step
from tests.teachers.resuming import check_resuming


def test_equals_mmengines_average() -> None:
    student = TinyNet()
    teacher = EMATeacher(momentum=0.1)
    teacher.prepare(student)
    reference = ExponentialMovingAverage(student, momentum=0.1, update_buffers=True)
    reference.update_parameters(student)  # MMEngine's first update copies
    for iteration in range(5):
        step(student)
        teacher.after_step(student, iteration)
        reference.update_parameters(student)
    for name, value in reference.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(teacher.model.state_dict()[name], value)


def test_warmup_begin_and_interval() -> None:
    student = TinyNet()
    teacher = EMATeacher(momentum=0.1, begin=3, interval=2)
    teacher.prepare(student)
    assert not teacher.ready
    ready = []
    for iteration in range(8):
        step(student)
        teacher.after_step(student, iteration)
        ready.append((teacher.ready, teacher.updates))
    assert ready == [(False, 0)] * 2 + [(True, 0)] * 2 + [(True, 1)] * 2 + [(True, 2)] * 2
    late = EMATeacher(momentum=0.1, begin=3)
    late.prepare(student, iteration=3)
    assert late.ready and same(late.model, student)
    epochs = EMATeacher(begin=2, by_epoch=True)
    epochs.prepare(student)
    epochs.after_epoch(student, 0)
    assert not epochs.ready
    step(student)
    epochs.after_epoch(student, 1)
    assert epochs.ready and same(epochs.model, student)
    momenta = [EMATeacher(momentum=0.01, warmup=5).momentum_at(k) for k in range(100)]
    assert (
        momenta == sorted(momenta, reverse=True) and momenta[0] > 0.8 and momenta[-1] == pytest.approx(0.01, rel=1e-3)
    )


def test_a_beginning_between_two_optimizer_steps_is_that_of_the_next() -> None:
    student = TinyNet()
    teacher = EMATeacher(momentum=0.1, begin=3)
    teacher.prepare(student)
    ready = []
    for iteration in range(8):
        step(student)
        if iteration % 4 == 3:  # accumulative_counts=4
            teacher.after_step(student, iteration)
        ready.append((teacher.ready, teacher.updates))
    assert ready == [(False, 0)] * 3 + [(True, 0)] * 4 + [(True, 1)]


def test_integer_buffers_are_copied() -> None:
    student = TinyNet()
    teacher = EMATeacher(momentum=0.1)
    teacher.prepare(student)
    step(student)
    teacher.after_step(student, 0)
    assert teacher.model.norm.num_batches_tracked == student.norm.num_batches_tracked == 1


def test_state_continues_exactly(tmp_path: Path) -> None:
    check_resuming(lambda: EMATeacher(momentum=0.3, interval=2), tmp_path)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ({'momentum': 0}, r'teacher.momentum is 0; it must be in \(0, 1\]'),
        ({'momentum': 1.5}, 'teacher.momentum is 1.5'),
        ({'interval': 0}, 'teacher.interval is 0; it must be at least 1'),
        ({'warmup': -1}, 'teacher.warmup is -1; it must be at least 0'),
        ({'begin': -1, 'key': 'teachers.mean'}, 'teachers.mean.begin is -1'),
    ],
)
def test_sentences(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        EMATeacher(**arguments)
