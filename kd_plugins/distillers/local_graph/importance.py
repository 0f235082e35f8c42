"""By what a distiller of points selects and weighs them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

from ...errors import ConfigError, nearest
from .selection import channel_max, class_score, feature_norm

Importance = Callable[[Tensor], Tensor]
"""From what a layer gives for one sample's points, (n, C), to (n,)."""

IMPORTANCES: dict[str, Importance | None] = {
    'max': channel_max,
    'norm': feature_norm,
    'score': class_score,
    'count': None,  # the points say themselves
}


def importance_function(key: str, name: str) -> Importance | None:
    """Return the function of a name in a config, None for the number of points per voxel.

    Args:
        key: Config key for the error sentence.
        name: A key of :data:`IMPORTANCES`, or the dotted path of a function.

    Raises:
        ConfigError: If there is none.

    >>> importance_function('distillers.x.importance', 'torch.numel').__name__
    'numel'
    """
    if name in IMPORTANCES:
        return IMPORTANCES[name]
    module, _, function = name.rpartition('.')
    try:
        found: Importance = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f'{key} is {name!r}, which cannot be imported ({error}); {nearest(name, IMPORTANCES, 4)}, or the dotted '
            'path of a function from features (n, C) to (n,)'
        ) from error
    if not callable(found):
        raise ConfigError(f'{key} is {name!r}, which is no function but {type(found).__name__}')
    return found


def checked_importance(key: str, function: Importance, features: Tensor) -> Tensor:
    """Return the importance of one sample's points.

    Raises:
        ConfigError: If the function gives anything else than one number per point.
    """
    found = function(features)
    if found.shape != features.shape[:1]:
        raise ConfigError(
            f'{key}: the function gives {tuple(found.shape)} for features {tuple(features.shape)}; it must give '
            f'({features.shape[0]},)'
        )
    return found
