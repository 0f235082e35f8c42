"""The student of an earlier epoch: its age, its state and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.teachers import SnapshotTeacher
from tests.teachers.networks import TinyNet, same, step
from tests.teachers.resuming import check_resuming


def test_is_as_old_as_it_says() -> None:
    student = TinyNet()
    teacher = SnapshotTeacher(epochs=2)
    teacher.prepare(student)
    history = []
    for epoch in range(4):
        assert teacher.ready == (epoch >= 2)
        if teacher.ready:
            assert same(teacher.model, history[epoch - 2])
        step(student)
        copy = TinyNet()
        copy.load_state_dict(student.state_dict())
        history.append(copy)
        teacher.after_epoch(student, epoch)


def test_waiting_weights_lie_on_the_cpu_and_do_not_follow_the_student() -> None:
    student = TinyNet()
    teacher = SnapshotTeacher(epochs=3)
    teacher.prepare(student)
    teacher.after_epoch(student, 0)
    (waiting,) = teacher.state_dict()['waiting']
    before = {name: value.clone() for name, value in waiting.items()}
    step(student)
    assert all(value.device.type == 'cpu' and value.equal(before[name]) for name, value in waiting.items())


@pytest.mark.parametrize('epochs', [1, 2])
def test_state_continues_exactly(tmp_path: Path, epochs: int) -> None:
    check_resuming(lambda: SnapshotTeacher(epochs=epochs), tmp_path)


def test_the_youngest_is_one_epoch_old() -> None:
    with pytest.raises(ConfigError, match='teacher.epochs is 0; the youngest snapshot is 1 epoch old'):
        SnapshotTeacher(epochs=0)
