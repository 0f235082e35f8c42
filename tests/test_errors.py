"""Error classes, and the last words of their sentences."""

from __future__ import annotations

import pytest

from kd_plugins import errors
from kd_plugins.errors import KDPluginsError, nearest


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


def test_names_that_are_no_strings() -> None:
    assert nearest(3, [1, 'three']) == "valid: '1', 'three'"
