"""Begin of teaching by iterations and by epochs."""

from __future__ import annotations

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.teachers import FrozenTeacher
from kd_plugins.teachers.begin import Begin
from tests.teachers.networks import TinyNet


def test_it_begins_once() -> None:
    begin = Begin(2, False, 'teacher', 'it')
    begin.prepare(0, 0)
    assert [begin.after_step(iteration) for iteration in range(4)] == [False, True, False, False] and begin.reached
    epochs = Begin(1, True, 'teacher', 'it')
    epochs.prepare(7, 0)
    assert not epochs.after_step(9) and epochs.after_epoch(0) and epochs.reached
    resumed = Begin(2, False, 'teacher', 'it')
    resumed.prepare(2, 0)
    assert resumed.reached and not resumed.after_step(2)


def test_a_run_that_ends_before_is_refused() -> None:
    with pytest.raises(ConfigError, match='teacher.begin is 3 epochs and the run ends after 2, so it .* begin=1'):
        Begin(3, True, 'teacher', 'it').check(5, 10)
    Begin(3, True, 'teacher', 'it').check(5, 20)
    with pytest.raises(ConfigError, match='teacher.begin is -1; it must be at least 0'):
        Begin(-1, True, 'teacher', 'it')


def test_a_frozen_teacher_waits() -> None:
    teacher = FrozenTeacher({'model': {'type': 'kd_plugins.TinyNet'}}, None, begin=1, by_epoch=True)
    teacher.prepare(TinyNet())
    assert not teacher.ready
    state = teacher.state_dict()
    teacher.after_epoch(TinyNet(), 0)
    assert teacher.ready
    teacher.load_state_dict(state)
    assert not teacher.ready
    assert FrozenTeacher({}, None).ready
