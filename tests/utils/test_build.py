"""Parts built from a config: the checks of their class and arguments, and the config key in every sentence."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.registry import Registry

from kd_plugins.errors import ConfigError
from kd_plugins.utils.build import build, check_arguments, missing_arguments, subclasses_in, takes_key

PARTS = Registry('part', scope='kd_plugins', locations=['kd_plugins.utils'])


@PARTS.register_module()
class Part:
    def __init__(self, size: int, key: str = 'part') -> None:
        self.size = size
        self.key = key


@PARTS.register_module()
class NamedPart(Part):
    def __init__(self, name: str = '', **arguments: Any) -> None:
        super().__init__(**arguments)
        self.name = name


@PARTS.register_module()
class KeylessPart(Part):
    def __init__(self, size: int = 1) -> None:
        super().__init__(size, 'none')


@PARTS.register_module()
class StrictPart(Part):
    def __init__(self, size: int = 1) -> None:
        assert size % 2 == 0, 'size must be even'
        super().__init__(size)


@PARTS.register_module()
class OtherClass:
    pass


def test_settings_override_further_arguments() -> None:
    assert build(PARTS, {'type': 'Part', 'size': 3}, Part, 'parts.a', size=2).size == 3
    assert build(PARTS, {'type': Part}, Part, 'parts.a', size=2).size == 2


def test_an_instance_is_returned_unchanged() -> None:
    part = Part(1)
    assert build(PARTS, part, Part, 'parts.a') is part


def test_the_config_key_reaches_constructors_that_take_it() -> None:
    assert build(PARTS, {'type': 'Part', 'size': 1}, Part, 'parts.a').key == 'parts.a'
    assert build(PARTS, {'type': 'NamedPart', 'size': 1}, Part, 'parts.a').key == 'parts.a'
    assert build(PARTS, {'type': 'KeylessPart'}, Part, 'parts.a').key == 'none'
    assert [takes_key(cls, Part) for cls in (Part, NamedPart, KeylessPart)] == [True, True, False]


def test_common_settings_are_no_arguments() -> None:
    class Common(KeylessPart):
        common_settings = ('mood',)

    part = build(PARTS, {'type': Common, 'size': 2, 'mood': 'calm'}, Part, 'parts.a')
    assert (part.size, part.mood) == (2, 'calm')
    with pytest.raises(ConfigError, match="has no argument 'mood'"):
        build(PARTS, {'type': 'KeylessPart', 'mood': 'calm'}, Part, 'parts.a')


def test_the_registry_lists_subclasses_without_their_base() -> None:
    assert subclasses_in(PARTS, Part) == ['NamedPart', 'KeylessPart', 'StrictPart']


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        (3, r"parts.a is 3; give a dict with 'type', for example dict\(type='kd_plugins.NamedPart'\)"),
        ({'size': 3}, "parts.a is .* give a dict with 'type'"),
        ({'type': 'NamdPart'}, "parts.a.type is 'NamdPart', which is not a Part; nearest: 'kd_plugins.NamedPart'"),
        ({'type': 'OtherClass'}, "parts.a.type is 'OtherClass', which is not a Part"),
        ({'type': 'Part', 'sise': 3}, "parts.a: Part has no argument 'sise'; nearest: 'size'"),
        ({'type': '.'}, "parts.a.type is '.', which is not a Part; valid: "),
        ({'type': ['Part']}, r"parts.a.type is \['Part'\], which is not a name; "),
        ({'type': 'Part', 'size': '3'}, "parts.a.size is '3'; valid: an integer"),
        ({'type': 'Part', 3: 3}, 'parts.a: Part has no argument 3; '),
        ({'type': 'NamedPart', 'size': 1, 'key': 'b'}, "parts.a: NamedPart has no argument 'key'; "),
        ({'type': 'Part'}, "parts.a: Part missing 1 required positional argument: 'size'"),
        ({'type': 'StrictPart', 'size': 3}, 'parts.a: StrictPart cannot be built: size must be even'),
        ({'type': 'NamedPart', 'sise': 1}, "parts.a: NamedPart got an unexpected keyword argument 'sise'"),
    ],
)
def test_sentences(config: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f'^{sentence}') as caught:
        build(PARTS, config, Part, 'parts.a')
    assert '\n' not in str(caught.value)


def test_unknown_arguments() -> None:
    check_arguments(Part, ['size'], 'model.part')
    check_arguments(NamedPart, ['anything'], 'model.part')
    with pytest.raises(ConfigError, match=r"^model.part: Part has no argument 'sise'; nearest: 'size'"):
        check_arguments(Part, ['key', 'sise'], 'model.part')


def test_required_arguments_are_followed_to_the_base_class() -> None:
    assert missing_arguments(NamedPart, [], inherited=True) == ['size']
    assert missing_arguments(NamedPart, ['size'], inherited=True) == []
    # A class may give its base class what it requires.
    assert missing_arguments(NamedPart, []) == []
    assert missing_arguments(KeylessPart, [], inherited=True) == []
