"""Teachers by name: configs, sources of distillers and states in a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import KDPluginsError
from kd_plugins.teachers import EMATeacher, SnapshotTeacher
from kd_plugins.teachers.collection import build_teachers, load_teacher_states, resolve_source, teacher_states
from tests.teachers.networks import TinyNet, same, step

AVERAGE: dict[str, Any] = {'type': 'kd_plugins.EMATeacher'}


def test_the_short_form_is_one_teacher_with_that_name() -> None:
    short, named = build_teachers(AVERAGE, None), build_teachers(None, {'a': AVERAGE, 'b': AVERAGE, 'c': None})
    assert {name: teacher.key for name, teacher in short.items()} == {'teacher': 'teacher'}
    assert {name: teacher.key for name, teacher in named.items()} == {'a': 'teachers.a', 'b': 'teachers.b'}
    assert build_teachers(None, None) == {}


@pytest.mark.parametrize(
    ('teacher', 'teachers', 'sentence'),
    [
        (AVERAGE, {'a': AVERAGE}, 'default_hooks.distill has both teacher and teachers; .* set teacher=None'),
        (None, [AVERAGE], 'default_hooks.distill.teachers is list; give a dict of name to config'),
        (None, {'student': AVERAGE}, "teachers: 'student' is not a valid name"),
        (None, {'a.b': AVERAGE}, "teachers: 'a.b' is not a valid name; use letters, digits and '_'"),
        (None, {'a': {**AVERAGE, 'momentum': 2}}, 'teachers.a.momentum is 2'),
        (None, {'a': 3}, "teachers.a is 3; give a dict with 'type'"),
    ],
)
def test_sentences_of_configs(teacher: Any, teachers: Any, sentence: str) -> None:
    with pytest.raises(KDPluginsError, match=sentence):
        build_teachers(teacher, teachers)


@pytest.mark.parametrize(
    ('source', 'names', 'expected'),
    [
        ('auto', [], None),
        ('auto', ['big'], 'big'),
        ('student', ['big'], None),
        ('average', ['big', 'average'], 'average'),
        ('teacher', ['teacher'], 'teacher'),
    ],
)
def test_sources(source: str, names: list[str], expected: str | None) -> None:
    assert resolve_source(source, 'distillers.x', names) == expected


@pytest.mark.parametrize(
    ('source', 'names', 'sentence'),
    [
        ('auto', ['big', 'average'], "x.source is 'auto', and the hook has 2 teachers; valid: 'big', 'average', 'stu"),
        ('bg', ['big', 'average'], "x.source is 'bg', which names no teacher; nearest: 'big'"),
        ('teacher', ['big'], "x.source is 'teacher', which names no teacher; valid: 'big', 'auto', 'student'"),
        ('teacher', [], "x.source is 'teacher', but default_hooks.distill.teacher is None"),
    ],
)
def test_sentences_of_sources(source: str, names: list[str], sentence: str) -> None:
    with pytest.raises(KDPluginsError, match=sentence):
        resolve_source(source, 'distillers.x', names)


def prepared(**teachers: Any) -> dict[str, Any]:
    for teacher in teachers.values():
        teacher.prepare(TinyNet())
    return teachers


def test_states_belong_to_names(tmp_path: Path) -> None:
    saved, student = prepared(slow=EMATeacher(0.1), fast=EMATeacher(0.9)), TinyNet()
    step(student)
    for teacher in saved.values():
        teacher.after_step(student, 0)
    torch.save(teacher_states(saved), tmp_path / 'x.pth')
    state = torch.load(tmp_path / 'x.pth', weights_only=True)
    resumed = prepared(fast=EMATeacher(0.9))
    assert load_teacher_states(resumed, state) == ['slow']
    assert same(resumed['fast'].model, saved['fast'].model) and resumed['fast'].updates == 1


def changed(**entry: Any) -> dict[str, Any]:
    states = teacher_states(prepared(mean=EMATeacher()))
    states['mean'].update(entry)
    return states


@pytest.mark.parametrize(
    ('saved', 'sentence'),
    [
        (None, "no readable entry 'distill.teachers', as one of another version of kd_plugins; .* load_from"),
        ({'model': 1}, "no readable entry 'distill.teachers'"),
        (
            {},
            "teachers.mean: the resumed checkpoint holds no teacher instead of 'mean'; resume with the config of that",
        ),
        (
            changed(type='SnapshotTeacher'),
            'teachers.mean.type is EMATeacher, and in the .* it is SnapshotTeacher; resume',
        ),
        (changed(version=7), 'teachers.mean: .* holds version 7 of the state of EMATeacher, .* reads version 1'),
        (changed(state={}), "teachers.mean.share is None, and in the resumed checkpoint it was 'EMAHook'; resume"),
        (changed(state=None), r'does not fit this run \(TypeError'),
        (changed(state={'model': {'fc.weight': torch.zeros(9)}}), r'does not fit this run \(RuntimeError: .*fc.weight'),
    ],
)
def test_sentences_of_states(saved: Any, sentence: str) -> None:
    with pytest.raises(KDPluginsError, match=sentence) as error:
        load_teacher_states(prepared(mean=EMATeacher(key='teachers.mean')), saved)
    assert '\n' not in str(error.value)


def test_a_snapshot_of_other_tensors_is_refused_at_once() -> None:
    teachers = prepared(past=SnapshotTeacher(epochs=2, key='teachers.past'))
    teachers['past'].after_epoch(TinyNet(), 0)
    states = teacher_states(teachers)
    states['past']['state']['waiting'][0].pop('fc.bias')
    with pytest.raises(KDPluginsError, match=r"does not fit this run \(KeyError: 'fc.bias'\)"):
        load_teacher_states(teachers, states)
