"""Longer trainings: a config whose schedule is stretched with the number of its epochs or iterations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ..config.hook_entries import hooks_of
from ..config.loading import class_name, walk
from ..runner.processes import training_length

NO_END = 10**8
"""Ends from here on mean that a scheduler never ends; MMEngine's own value is 10**9."""
POSITIONS = ('begin', 'end', 'T_max', 'step_size', 'total_steps')
LISTS = ('milestones', 'periods')
"""Arguments of schedulers that count epochs or iterations."""
HOOK_POSITIONS = (
    'begin_epoch',
    'begin_iter',
    'disable_after_epoch',
    'num_last_epochs',
    'stop_epoch',
    'switch_epoch',
    'switch_iter',
)
"""Arguments of hooks that are a position in the training, or a length at its end."""


def scaled(value: Any, factor: float) -> Any:
    """Return a position in a longer training, an integer if it was one.

    >>> scaled(11, 1.5), scaled(0.5, 1.5), scaled(0, 1.5), scaled(10**9, 1.5), scaled(None, 1.5)
    (16, 0.75, 0, 1000000000, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < NO_END:
        return value
    return value * factor if isinstance(value, float) else max(1, round(value * factor))


def stretch(config: Config, length: int) -> tuple[Config, list[str]]:
    """Return a training of another length whose schedule has the same shape.

    ``train_cfg``, every entry of ``param_scheduler`` and the positions of known hooks are scaled; ``val_interval`` and
    intervals of hooks stay.

    Args:
        config: The resolved config.
        length: Number of epochs or iterations, in the unit that the config counts.

    Returns:
        The new config, and one remark for each setting that stays as it is and could be meant to change.

    Raises:
        ConfigError: If the config sets neither ``max_epochs`` nor ``max_iters``.
    """
    unit, before = training_length(config)
    factor = length / before
    changed: Config = copy.deepcopy(config)
    changed.train_cfg['max_epochs' if unit == 'epoch' else 'max_iters'] = length
    intervals = changed.train_cfg.get('dynamic_intervals')
    if intervals:
        changed.train_cfg['dynamic_intervals'] = [(scaled(start, factor), every) for start, every in intervals]
    remarks: list[str] = []
    for path, entry in walk(changed.get('param_scheduler'), 'param_scheduler'):
        if 'type' in entry:
            remarks += _stretch_scheduler(path, entry, factor)
    for path, hook in hooks_of(changed):
        remarks += _stretch_hook(path, hook, factor)
    return changed, remarks


def _stretch_scheduler(path: str, entry: dict[str, Any], factor: float) -> Iterator[str]:
    name = class_name(entry)
    for key in POSITIONS:
        if key in entry:
            entry[key] = scaled(entry[key], factor)
    for key in LISTS:
        if key in entry:
            entry[key] = [scaled(value, factor) for value in entry[key]]
    if name.startswith('Exponential') and 'gamma' in entry:
        entry['gamma'] = entry['gamma'] ** (1 / factor)
    if name.startswith('ReduceOnPlateau'):
        yield f'{path}: patience and cooldown of {name} count validations and are unchanged'


def _stretch_hook(path: str, hook: dict[str, Any], factor: float) -> Iterator[str]:
    name = class_name(hook)
    for key, value in hook.items():
        if key in HOOK_POSITIONS:
            hook[key] = scaled(value, factor)
        elif _counts(key) and isinstance(value, (int, list, tuple, dict)) and not isinstance(value, bool):
            yield f'{path}.{key} of {name} is {value!r} and unchanged'
    if name == 'DistillHook':
        yield f'{path}: the weight schedules of its distillers and the beginnings of its teachers are unchanged'
    if 'EMA' in name and 'momentum' in hook:
        yield f'{path}.momentum of {name} is unchanged ({hook["momentum"]!r}): it averages a smaller part of the run'


def _counts(key: str) -> bool:
    """Return whether the name of an argument speaks of a position in the training."""
    words = key.split('_')
    return any(word in ('epoch', 'epochs', 'iter', 'iters') for word in words) and 'by' not in words
