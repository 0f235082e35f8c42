"""Check that the first stage of a training in two stages is validated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError
from .data_checks import validates
from .hook_entries import hooks_of
from .loading import class_name

HOOK = 'SecondStageHook'


def second_stages(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the config key and the entry of every SecondStageHook; an entry may be changed in place."""
    return ((path, hook) for path, hook in hooks_of(config) if class_name(hook) == HOOK)


def check_second_stage(config: Config) -> None:
    """Refuse a second stage that has no best weights to begin from, because no validation precedes it.

    Args:
        config: The resolved config.

    Raises:
        ConfigError: If the run does not validate, or for the first time after the first stage.

    >>> check_second_stage(Config({'train_cfg': {'max_epochs': 12}}))
    """
    for path, entry in second_stages(config):
        if not entry.get('reload_best', True):
            continue
        if not validates(config):
            raise ConfigError(
                f'{path} goes on from the weights that validate best, and val_cfg is None; nearest: '
                f'{path}.reload_best=False'
            )
        stop, last = entry.get('stop_epoch', 0), config.train_cfg.get('max_epochs', 0)
        interval, begin = config.train_cfg.get('val_interval', 1), config.train_cfg.get('val_begin', 1)
        first = -(-max(begin, 1) // interval) * interval
        if first > stop and stop < last and not config.train_cfg.get('dynamic_intervals'):
            raise ConfigError(
                f'train_cfg.val_interval is {interval}, so the first validation follows epoch {first}, and {path} goes '
                f'on from the best weights of the first {stop} epochs; nearest: train_cfg.val_interval=1'
            )
