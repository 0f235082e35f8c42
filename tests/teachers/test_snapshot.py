"""The student of an earlier epoch: its age, its state and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

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


@pytest.mark.parametrize(('before', 'finished', 'after', 'advice'), [
    (3, 4, 1, 'epochs=3'), (1, 2, 3, 'epochs=1'), (4, 2, 2, 'epochs=3 or more')
])  # fmt: skip
def test_a_resume_with_another_age_is_refused(before: int, finished: int, after: int, advice: str) -> None:
    first, second = SnapshotTeacher(epochs=before), SnapshotTeacher(epochs=after)
    for teacher in (first, second):
        teacher.prepare(TinyNet())
    for epoch in range(finished):
        first.after_epoch(TinyNet(), epoch)
    with pytest.raises(ConfigError, match=f'teacher.epochs is {after}, and .* resume with {advice},'):
        second.load_state_dict(first.state_dict())


def test_the_youngest_is_one_epoch_old() -> None:
    with pytest.raises(ConfigError, match='teacher.epochs is 0; the youngest snapshot is 1 epoch old'):
        SnapshotTeacher(epochs=0)


def test_waiting_weights_go_back_to_the_cpu_after_a_resume() -> None:
    class Elsewhere(torch.Tensor):
        """A tensor of the device onto which MMEngine reads a checkpoint."""

        def cpu(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return self.as_subclass(torch.Tensor).clone()

    teacher = SnapshotTeacher(epochs=3)
    teacher.prepare(TinyNet())
    teacher.after_epoch(TinyNet(), 0)
    state = teacher.state_dict()
    state['waiting'] = [{name: value.as_subclass(Elsewhere) for name, value in state['waiting'][0].items()}]
    teacher.load_state_dict(state)
    (waiting,) = teacher.state_dict()['waiting']
    assert not any(isinstance(value, Elsewhere) for value in waiting.values())


def test_shared_tensors_wait_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.second.weight = self.first.weight

    student, teacher = Tied(), SnapshotTeacher(epochs=2)
    teacher.prepare(student)
    teacher.after_epoch(student, 0)
    assert list(teacher.state_dict()['waiting'][0]) == ['first.weight']
