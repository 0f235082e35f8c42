"""Importance functions for selecting and weighting points."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

from ...errors import ConfigError, nearest
from .selection import channel_max, class_score, feature_norm

Importance = Callable[[Tensor], Tensor]
"""Function from the features of one sample's points, (n, C), to their importance, (n,)."""

IMPORTANCES: dict[str, Importance | None] = {
    'max': channel_max,
    'norm': feature_norm,
    'score': class_score,
    'count': None,  # read from the batch, not computed from features
}


def importance_function(key: str, name: str) -> Importance | None:
    """Return the importance function that a config names, None for the number of points per voxel.

    Args:
        key: Config key for the error sentence.
        name: A key of :data:`IMPORTANCES`, or the dotted path of a function.

    Raises:
        ConfigError: If there is no such function.

    >>> importance_function('distillers.x.importance', 'torch.numel').__name__
    'numel'
    """
    if name in IMPORTANCES:
        return IMPORTANCES[name]
    module, _, function = name.rpartition('.')
    try:
        imported: Importance = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f'{key} is {name!r}, which cannot be imported ({error}); {nearest(name, IMPORTANCES, 4)}, or the dotted '
            'path of a function from features (n, C) to (n,)'
        ) from error
    if not callable(imported):
        raise ConfigError(f'{key} is {name!r}, which is not a function but {type(imported).__name__}')
    return imported


def checked_importance(key: str, function: Importance, features: Tensor) -> Tensor:
    """Return the importance of one sample's points.

    Args:
        key: Config key for the error sentence.
        function: The importance function.
        features: (n, C).

    Raises:
        ConfigError: If the function does not return one number per point.
    """
    importance = function(features)
    if importance.shape != features.shape[:1]:
        raise ConfigError(
            f'{key}: the function gives {tuple(importance.shape)} for features {tuple(features.shape)}; it must give '
            f'({features.shape[0]},)'
        )
    return importance
