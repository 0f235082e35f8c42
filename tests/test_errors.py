"""Error classes, and the closing words of their sentences."""

from __future__ import annotations

from typing import Any

import pytest

from kd_plugins import errors
from kd_plugins.errors import ConfigError, KDPluginsError, check_arguments, nearest


@pytest.mark.parametrize(
    ('name', 'builtin'),
    [
        ('ConfigError', ValueError),
        ('TapError', RuntimeError),
        ('CheckpointError', RuntimeError),
        ('NonFiniteLossError', FloatingPointError),
        ('MissingDependencyError', ImportError),
    ],
)
def test_every_error_is_ours_and_one_of_pythons(name: str, builtin: type) -> None:
    error = getattr(errors, name)
    assert issubclass(error, KDPluginsError) and issubclass(error, builtin)


@pytest.mark.parametrize(
    ('name', 'choices', 'words'),
    [
        ('bbox_hed', ['neck', 'bbox_head'], "nearest: 'bbox_head'"),
        ('layer', ['layer1', 'layer2', 'layer3', 'layer4'], "nearest: 'layer4', 'layer3', 'layer2'"),
        ('zzz', ['a', 'b', 'c', 'd'], "valid: 'a', 'b', 'c', ..."),
        ('zzz', ['a'], "valid: 'a'"),
        ('zzz', [], 'valid: none'),
    ],
)
def test_nearest_names(name: str, choices: list[str], words: str) -> None:
    assert nearest(name, choices) == words


class Plain:
    def __init__(self, temperature: float = 1.0, weight: float = 1.0) -> None:
        pass


class Open(Plain):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)


def test_unknown_arguments() -> None:
    check_arguments(Plain, ['weight'], 'model.part')
    check_arguments(Open, ['anything'], 'model.part')
    with pytest.raises(ConfigError, match=r"^model.part: Plain has no argument 'temprature'; nearest: 'temperature'$"):
        check_arguments(Plain, ['weight', 'temprature'], 'model.part')
