"""Refusal of text where optimizers, schedules of the learning rate and training loops take a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS, Registry
from torch import nn

from ..errors import ConfigError
from ..utils.argument_types import shown
from ..utils.build import reached_parameters
from .loading import walk

RATES = ('lr', 'weight_decay', 'momentum')
"""Arguments that are numbers in every optimizer, whatever its signature says."""
LENGTHS = ('max_epochs', 'max_iters', 'val_begin', 'val_interval')
"""Arguments of training loops."""
CLIPS: dict[str, Callable[..., Any]] = {'norm': nn.utils.clip_grad_norm_, 'value': nn.utils.clip_grad_value_}


def check_numbers(config: Config) -> None:
    """Refuse text where a number belongs, of which PyTorch and MMEngine say what cannot be compared.

    ``--cfg-options optim_wrapper.optimizer.lr=fast`` is text, and so is ``lr: 1e-3`` in a YAML file, without a point.

    Args:
        config: The resolved config, whose ``default_scope`` is registered.

    Raises:
        ConfigError: Naming the first such setting.

    >>> check_numbers(Config({'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}}}))
    """
    for key, entry, numbers in _entries(config):
        for name, value in entry.items():
            if isinstance(value, str) and name in numbers:
                example = '' if numbers[name] is None else f', such as {numbers[name]!r}'
                raise ConfigError(f'{key}.{name} is {shown(value)}; give a number{example}')


def _entries(config: Config) -> Iterator[tuple[str, Mapping[Any, Any], dict[str, Any]]]:
    """Yield config key and content of each dict, and the names of its numbers with their defaults."""
    rates: dict[str, Any] = dict.fromkeys(RATES)
    for path, node in walk(config.get('optim_wrapper'), 'optim_wrapper'):
        if path.endswith('.clip_grad'):
            clip = CLIPS.get(str(node.get('type', 'norm')))
            yield path, node, _numbers(list(signature(clip).parameters.values())) if clip else {}
        elif '.paramwise_cfg' in path:
            yield path, node, {name: 1.0 for name in node if isinstance(name, str) and name.endswith('_mult')}
        else:
            found = _numbers_of(node.get('type'), OPTIMIZERS) or _numbers_of(
                node.get('type', 'OptimWrapper'), OPTIM_WRAPPERS
            )
            yield path, node, {**rates, **found}
    for path, node in walk(config.get('param_scheduler'), 'param_scheduler'):
        yield path, node, _numbers_of(node.get('type'), PARAM_SCHEDULERS)
    if isinstance(config.get('train_cfg'), Mapping):
        yield 'train_cfg', config.train_cfg, dict.fromkeys(LENGTHS)


def _numbers_of(named: Any, registry: Registry) -> dict[str, Any]:
    """Return the numbers among the arguments of a class, empty where the registry does not have it."""
    cls = named
    if isinstance(named, str):
        try:
            cls = registry.get(named)
        except Exception:  # the run itself says why there is no such class
            cls = None
    return _numbers(reached_parameters(cls)) if isinstance(cls, type) else {}


def _numbers(parameters: list[Parameter]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for one in parameters:
        if isinstance(one.default, (int, float)) and not isinstance(one.default, bool):
            numbers[one.name] = one.default
        elif one.default is Parameter.empty and one.annotation in (int, float, 'int', 'float'):
            numbers[one.name] = None
    return numbers
