"""Weights that a run evaluates because of its hooks."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS

from ..config.hook_entries import hooks_of
from ..config.loading import class_name
from ..errors import ConfigError

RAW, AVERAGED = 'raw', 'averaged'
"""Weights that a validation can use."""


def evaluated_weights(config: Config) -> str:
    """Return which weights a run validates and tests: those of its optimizer or their average.

    MMEngine's EMAHook, and a hook derived from it, exchanges the weights before a validation and in a checkpoint. A
    semi-supervised detector predicts with its teacher, which is an average as well.

    Returns:
        ``'raw'`` or ``'averaged'``.

    >>> evaluated_weights(Config({'custom_hooks': [{'type': 'EMAHook'}]})), evaluated_weights(Config())
    ('averaged', 'raw')
    """
    for _, hook in hooks_of(config):
        cls = hook['type'] if isinstance(hook['type'], type) else HOOKS.get(str(hook['type']))
        if class_name(hook) == 'EMAHook' or (isinstance(cls, type) and issubclass(cls, EMAHook)):
            return AVERAGED
    semi = (config.get('model') or {}).get('semi_test_cfg')
    return AVERAGED if semi is not None and semi.get('predict_on', 'teacher') == 'teacher' else RAW


def check_weights(weights: Sequence[tuple[str, str]]) -> None:
    """Refuse arms of which some evaluate averaged weights and some do not.

    Args:
        weights: Name of each arm and the result of :func:`evaluated_weights`.

    Raises:
        ConfigError: Naming one arm of each kind.
    """
    first = {kind: name for name, kind in reversed(weights)}
    if len(first) > 1:
        raise ConfigError(
            f"'{first[AVERAGED]}' evaluates averaged weights (EMAHook) and '{first[RAW]}' does not, so the average "
            'alone can make the difference; give the hook to all arms or to none, or allow it with --mixed-weights'
        )
