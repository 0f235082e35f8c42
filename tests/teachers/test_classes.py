"""Classes of a trained teacher against those of the training data."""

from __future__ import annotations

from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.teachers import EMATeacher
from kd_plugins.teachers.classes import check_classes, class_names


@pytest.mark.parametrize(
    ('metainfo', 'expected'),
    [
        ({'classes': ['cat', 'dog']}, [('cat', 'dog')]),
        ({'classes': 'cat'}, [('cat',)]),
        ([{'classes': ('cat', 'dog'), 'palette': 1}, {'classes': ('cat', 'dog'), 'palette': 2}], [('cat', 'dog')]),
        ([{'classes': ('cat', 'dog')}, {'classes': ('dog', 'cat')}, {}], [('cat', 'dog'), ('dog', 'cat')]),
        ({'classes': ()}, []),
        ({}, []),
        ([], []),
        (None, []),
    ],
)
def test_names(metainfo: Any, expected: list[tuple[str, ...]]) -> None:
    assert class_names(metainfo) == expected


def teacher(classes: Any) -> EMATeacher:
    made = EMATeacher(key='teachers.big')
    made.classes = classes  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize('classes', [None, (), ('cat', 'dog'), ['cat', 'dog']])
def test_equal_or_unknown_classes(classes: Any) -> None:
    check_classes(teacher(classes), 'distillers.x', {'classes': ['cat', 'dog']})
    check_classes(teacher(('cat', 'dog')), 'distillers.x', None)


@pytest.mark.parametrize(
    ('classes', 'sentence'),
    [
        (('dog', 'cat'), "class 0 is 'dog' there and 'cat' here; distillers.x compares class scores"),
        (('cat', 'dog', 'cow'), r'teachers.big.checkpoint: trained on 3 classes .* has 2 classes .*; distillers.x'),
    ],
)
def test_other_classes(classes: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_classes(teacher(classes), 'distillers.x', {'classes': ['cat', 'dog']})


def test_every_member_of_a_concatenation_is_compared() -> None:
    members = [{'classes': ('cat', 'dog')}, {'classes': ('dog', 'cat')}]
    with pytest.raises(ConfigError, match="class 0 is 'cat' there and 'dog' here"):
        check_classes(teacher(('cat', 'dog')), 'distillers.x', members)
