"""Importance functions by name and by path."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers.local_graph.importance import IMPORTANCES, checked_importance, importance_function
from kd_plugins.errors import ConfigError

FEATURES = torch.tensor([[3.0, -4.0], [0.0, 1.0]])


def first_channel(features: Tensor) -> Tensor:
    return features[:, 0]


@pytest.mark.parametrize(('name', 'expected'), [('max', [3.0, 1.0]), ('norm', [5.0, 1.0])])
def test_functions_of_the_features(name: str, expected: list[float]) -> None:
    function = importance_function('k', name)
    assert function is not None
    torch.testing.assert_close(checked_importance('k', function, FEATURES), torch.tensor(expected))


def test_the_number_of_points_comes_from_the_batch() -> None:
    assert importance_function('k', 'count') is None and set(IMPORTANCES) == {'max', 'norm', 'score', 'count'}


def test_a_function_of_the_user() -> None:
    function = importance_function('k', f'{__name__}.first_channel')
    assert function is not None and function(FEATURES).tolist() == [3.0, 0.0]


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('maxx', r"k is 'maxx', which cannot be imported .*; nearest: 'max'"),
        ('no_such_module.f', r"k is 'no_such_module.f', which cannot be imported"),
        ('torch.no_such_function', r'which cannot be imported'),
        ('torch.pi', "k is 'torch.pi', which is not a function but float"),
    ],
)
def test_unknown_functions(name: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        importance_function('k', name)


@pytest.mark.parametrize('function', [lambda features: features, lambda features: features.sum()])
def test_a_function_gives_one_number_per_point(function: Any) -> None:
    with pytest.raises(ConfigError, match=r'k: the function gives \(.*\) for features \(2, 2\); it must give \(2,\)'):
        checked_importance('k', function, FEATURES)
