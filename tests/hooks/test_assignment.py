"""Which teachers teach which distiller."""

from __future__ import annotations

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.assignment import Assignment
from kd_plugins.teachers import EMATeacher
from tests.hooks.tiny_runs import TinyGap, TinyStudent


def assigned(**others: str) -> tuple[Assignment, TinyStudent, dict[str, EMATeacher]]:
    student, teachers = TinyStudent(), {'a': EMATeacher(), 'b': EMATeacher(begin=5)}
    for teacher in teachers.values():
        teacher.prepare(student)
    distillers = {'one': TinyGap(source='a'), 'two': TinyGap(source='a'), 'self': TinyGap(source='student')}
    for name, other in others.items():
        distillers[name].others = (other,)
    return Assignment(distillers, teachers), student, teachers


def test_teachers_and_their_models() -> None:
    assignment, student, teachers = assigned(two='b')
    assert assignment.sources == {'one': 'a', 'two': 'a', 'self': None}
    assert assignment.all == {'one': ('a',), 'two': ('a', 'b'), 'self': (None,)}
    assert assignment.models('one', student) == [teachers['a'].model]
    assert assignment.models('two', student) == [teachers['b'].model, teachers['a'].model], 'the first one last'
    assert assignment.models('self', student) == [student]


def test_readiness_is_that_of_all_teachers() -> None:
    assignment, _, _ = assigned(two='b')
    assert [assignment.is_ready(name) for name in ('one', 'two', 'self')] == [True, False, True]


def test_needed_teachers_are_those_of_the_running_distillers() -> None:
    assignment, _, _ = assigned(two='b')
    assert assignment.needed(['self']) == [] and assignment.needed(['one']) == ['a']
    assert assignment.needed(['two', 'one']) == ['a', 'b']


def test_an_unknown_teacher_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"source is 'c', which names no teacher; valid: 'a', 'b'"):
        assigned(one='c')
