"""Taps of several distillers on a student and two teachers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.hooks.network_taps import NetworkTaps
from kd_plugins.teachers import EMATeacher
from tests.hooks.tiny_runs import TinyGap, TinyStudent

IMAGES = torch.ones(2, 2)


def taps_of(**distillers: TinyGap) -> tuple[NetworkTaps, TinyStudent, dict[str, Any]]:
    student = TinyStudent()
    teachers = {name: EMATeacher() for name in ('a', 'b')}
    for teacher in teachers.values():
        teacher.prepare(student)
    sources = {name: (one.source if one.source in teachers else None,) for name, one in distillers.items()}
    return NetworkTaps(student, teachers, distillers, sources), student, teachers


def test_each_distiller_reads_its_networks() -> None:
    taps, student, teachers = taps_of(x=TinyGap('first', source='a'), y=TinyGap('second', source='student'))
    taps.student.start()
    outputs = student(IMAGES)
    with taps.teachers['a'].forward_pass(ends_early=False):
        teachers['a'].model(IMAGES)
    read, taught = taps.read_student(['x', 'y']), taps.read_teachers(['x', 'y'])
    assert torch.equal(read['y']['tap'][0], outputs) and torch.equal(taught['y']['tap'][0], outputs)
    assert not taught['y']['tap'][0].requires_grad and taught['x']['tap'][0].shape == (2, 4)
    assert taps.read_student(['x']).keys() == {'x'}
    assert taps.shapes() == {None: {'first': [(2, 4)], 'second': [(2, 3)]}, 'a': {'first': [(2, 4)]}, 'b': {}}
    taps.clear()
    assert not taps.student.recording and taps.student.recorded() == []


def test_no_hook_stays() -> None:
    taps, student, teachers = taps_of(x=TinyGap('first', source='a'))
    assert student.first._forward_hooks and teachers['a'].model.first._forward_hooks
    taps.remove()
    assert not student.first._forward_hooks and not teachers['a'].model.first._forward_hooks
    with pytest.raises(ConfigError, match="'frist' names no module of the teacher 'a'"):
        taps_of(x=TinyGap('frist', source='a'))


def test_outputs_are_not_parameters() -> None:
    with pytest.raises(
        ConfigError, match="x.tap: 'param:first.weight' names parameters, and TinyGap compares outputs of"
    ):
        taps_of(x=TinyGap('param:first.weight', source='a', key='distillers.x'))
