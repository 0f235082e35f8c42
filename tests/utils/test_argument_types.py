"""Settings of a part are compared with the annotations of its constructor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.utils.argument_types import annotations_of, check_types, describe, fits, shown


class Base:
    def __init__(self, size: int, label: str | None = None) -> None: ...


class Part(Base):
    def __init__(
        self, rate: float = 0.5, pool: bool = False, names: Sequence[str] = (), own: Any = None, **kwargs: Any
    ):
        super().__init__(**kwargs)


class Renamed(Base):
    def __init__(self, label: Unknown, **kwargs: Any) -> None: ...  # noqa: F821


def test_arguments_of_a_base_class_are_known() -> None:
    assert annotations_of(Part)['size'] is int and annotations_of(Part)['rate'] is float
    assert 'label' not in annotations_of(Renamed), 'an annotation that cannot be read hides that of the base class'


@pytest.mark.parametrize(
    ('hint', 'valid', 'invalid'),
    [
        (int, [0, -3, 10**30], [True, 3.0, '3', None, float('nan'), [3]]),
        (float, [0, 0.5], [True, float('inf'), float('nan'), '0.5', 1j, b'1']),
        (bool, [True, False], [0, 1, 'yes', None]),
        (str, ['neck'], ['', 3, b'neck', ['neck']]),
        (str | None, [None, 'a'], [0, '']),
        (dict[str, Any], [{}, {'a': 1}], [[], 'a', {1}]),
        (Sequence[str], [[], ['a'], ('a', 'b')], ['a', [1], [''], {'a'}]),
        (list[float] | None, [[1, 2.5], None], [['1'], 1.5]),
        (Callable[..., Any], [print, len], [3, 'print']),
        (Any, [3, b'a', {1}], []),
    ],
)
def test_values(hint: Any, valid: list[Any], invalid: list[Any]) -> None:
    assert all(fits(value, hint) for value in valid)
    assert not [value for value in invalid if fits(value, hint)]


def test_objects_of_python_code_are_left_alone() -> None:
    assert fits(Base(1), int) and fits(range(3), dict)


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'rate': '1'}, "parts.a.rate is '1'; valid: a finite number, such as 0.5"),
        ({'pool': 1}, 'parts.a.pool is 1; valid: True or False, such as False'),
        ({'names': 'neck'}, "parts.a.names is 'neck'; valid: a list of strings, such as ()"),
        ({'names': ['a', 3]}, 'parts.a.names[1] is 3; valid: a non-empty string'),
        ({'size': None}, 'parts.a.size is None; valid: an integer'),
        ({'label': {1}}, 'parts.a.label is {1}; valid: a non-empty string or None'),
    ],
)
def test_sentences(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_types(Part, settings, 'parts.a')
    assert str(caught.value) == sentence


def test_a_long_value_is_shortened() -> None:
    text = shown({'a': 'x' * 500, 'b': '\n' * 500})
    assert len(text) < 100 and '\n' not in text and ' ... ' in text


def test_words() -> None:
    assert describe(int | list[int] | None) == 'an integer or a list of integers or None'
