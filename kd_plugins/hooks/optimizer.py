"""Optimizer of the distillers' own parameters, stepped together with the student's optimizer.

Adapters are created before training, when MMEngine has built its optimizer and schedulers. They get an optimizer of
their own, so that the student's optimizer, gradient clipping and schedulers are those of a run without distillation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIMIZERS
from torch import nn
from torch.optim import Optimizer

from ..errors import ConfigError, nearest
from ..utils.build import check_arguments, construct, find_class, missing_arguments
from ..utils.checks import check_choice, check_flag, check_number

KEY = 'default_hooks.distill.optimizer'
SETTINGS = ('optimizer', 'clip_grad')
CLIPS: dict[str, Callable[..., Any]] = {'norm': nn.utils.clip_grad_norm_, 'value': nn.utils.clip_grad_value_}


def check_settings(settings: Any) -> dict[str, Any]:
    """Return the settings of the distillers' optimizer from the config.

    Args:
        settings: ``dict(optimizer=dict(...), clip_grad=dict(...))``, as in ``optim_wrapper``, or ``None``.

    Raises:
        ConfigError: If the settings have another form.

    >>> check_settings({'optimizer': {'lr': 0.01}})
    {'optimizer': {'lr': 0.01}}
    """
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise ConfigError(f'{KEY} is {settings!r}; give a dict, for example dict(optimizer=dict(lr=1e-3))')
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ConfigError(
                f"{KEY} has no argument '{name}'; {nearest(name, SETTINGS)}; "
                'accumulation and loss scaling are those of optim_wrapper'
            )
        if value is not None and not isinstance(value, Mapping):
            raise ConfigError(f'{KEY}.{name} is {value!r}; give a dict')
    _check_optimizer(settings.get('optimizer') or {})
    _check_clip(settings.get('clip_grad') or {})
    return dict(settings)


def _check_optimizer(config: Mapping[Any, Any]) -> None:
    key = f'{KEY}.optimizer'
    if 'type' in config:
        cls = find_class(OPTIMIZERS, config['type'], Optimizer, f'{key}.type')
        check_arguments(cls, [name for name in config if name != 'type'], key, ('params',))
    unnamed = next((name for name in config if not isinstance(name, str)), '')
    if unnamed != '':
        raise ConfigError(f'{key} has no argument {unnamed!r}; valid: names such as lr, weight_decay')
    for name in ('lr', 'weight_decay', 'momentum'):
        if config.get(name) is not None:
            check_number(f'{key}.{name}', config[name], positive=False, example=1e-3)


def _check_clip(config: Mapping[Any, Any]) -> None:
    key = f'{KEY}.clip_grad'
    clip: Any = CLIPS[check_choice(f'{key}.type', config.get('type', 'norm'), tuple(CLIPS))]
    given = [name for name in config if name != 'type']
    check_arguments(clip, given, key, ('parameters',))
    missing = missing_arguments(clip, ['parameters', *given]) if config else []
    if missing:
        raise ConfigError(f"{key} needs '{missing[0]}', for example {missing[0]}=1.0")
    for name in ('max_norm', 'clip_value'):
        if name in config:
            check_number(f'{key}.{name}', config[name], positive=True)
    norm_type = config.get('norm_type', 2.0)
    if norm_type != math.inf:
        check_number(f'{key}.norm_type', norm_type, positive=True, example=2.0)
    for name in ('error_if_nonfinite', 'foreach'):
        if config.get(name) is not None:
            check_flag(f'{key}.{name}', config[name])


def wrappers_of(optim_wrapper: Any) -> list[OptimWrapper]:
    """Return the optimizer wrappers of a run: one, or the members of an ``OptimWrapperDict``."""
    return list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]


def loss_scaler(wrapper: Any) -> Any:
    """Return the GradScaler of an optimizer wrapper with mixed precision, or ``None``."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    return scaler if scaler is not None and scaler.is_enabled() else None


def batch_size_ratio(runner: Any) -> float:
    """Return the factor by which ``auto_scale_lr`` of the runner multiplies the learning rate."""
    settings = getattr(runner, 'auto_scale_lr', None) or getattr(runner, '_auto_scale_lr', None) or {}
    if not settings.get('enable'):
        return 1.0
    loader = runner.train_dataloader
    sampler = loader.batch_sampler if loader.batch_size is None else loader
    return get_world_size() * float(sampler.batch_size) / float(settings['base_batch_size'])


def schedule_factor(groups: Sequence[Mapping[str, Any]]) -> float:
    """Return the current learning rate of a schedule, as a factor on the initial one.

    Args:
        groups: The param groups of the student's optimizer. The first one whose initial rate is not 0 counts, because
            all groups follow the same schedule. With ``OneCycleLR``, the factor is that on the highest rate.

    >>> schedule_factor([{'lr': 0.0, 'initial_lr': 0.0}, {'lr': 0.005, 'initial_lr': 0.01}])
    0.5
    """
    for group in groups:
        # OneCycleLR starts at a fraction of the highest rate, and calls that fraction the initial one.
        initial = float(group.get('max_lr', group.get('initial_lr', group['lr'])))
        if initial > 0:
            return float(group['lr']) / initial
    return 1.0


class Learning:
    """Record of the distillers that had a weight above 0 since the last update, the same on all ranks.

    The others have a gradient of 0, because every rank reduces the same gradients. With it, an optimizer would still
    decay their parameters, and follow the running mean of earlier gradients.

    Args:
        distillers: Name to distiller.
    """

    def __init__(self, distillers: Mapping[str, nn.Module]) -> None:
        self._distillers = dict(distillers)
        self._active: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        """Note the distillers that are active in an iteration."""
        self._active.update(names)

    def clear(self) -> None:
        """Forget them, after an update."""
        self._active.clear()

    def idle_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the other distillers.

        >>> learning = Learning({'first': nn.Linear(1, 1), 'second': nn.Linear(1, 1)})
        >>> learning.add(['first'])
        >>> len(learning.idle_parameters())
        2
        """
        idle = [distiller for name, distiller in self._distillers.items() if name not in self._active]
        return [param for distiller in idle for param in distiller.parameters()]


class DistillOptimizer:
    """The distillers' optimizer, which steps whenever the student's optimizer steps.

    The default has the type and the settings of ``optim_wrapper.optimizer``, base learning rate and weight decay
    included, without ``paramwise_cfg``, layer decay and gradient clipping. Its learning rate is multiplied by the
    student's schedule. Gradient accumulation and the loss scaler are those of the student's wrapper. With several
    optimizers (``OptimWrapperDict``) it steps with the first one that steps after a backward pass.

    Args:
        runner: MMEngine's runner, after it has built its optimizer and schedulers.
        params: The parameters to optimize.
        settings: Result of :func:`check_settings`: ``optimizer`` with a ``type`` replaces the student's optimizer,
            without one it changes single settings; ``clip_grad`` is that of MMEngine's ``OptimWrapper``.
        learning: Which parameters a step leaves as they are; by default none.

    Raises:
        ConfigError: If the settings do not fit the optimizer, or the run uses ``ApexOptimWrapper``.
    """

    def __init__(
        self,
        runner: Any,
        params: Iterable[nn.Parameter],
        settings: Mapping[str, Any] | None = None,
        learning: Learning | None = None,
    ) -> None:
        settings = settings or {}
        self._learning = Learning({}) if learning is None else learning
        self._params = list(params)
        self._wrappers = wrappers_of(runner.optim_wrapper)
        if any(cls.__name__ == 'ApexOptimWrapper' for wrapper in self._wrappers for cls in type(wrapper).__mro__):
            raise ConfigError(
                "optim_wrapper.type is 'ApexOptimWrapper', whose loss scale stays on the gradients of the distillers' "
                "adapters; nearest: 'AmpOptimWrapper'"
            )
        clip = dict(settings.get('clip_grad') or {})
        self._clip = CLIPS[clip.pop('type', 'norm')] if clip else None
        self._clip_settings = clip
        self.optimizer = self._build(runner, settings.get('optimizer') or {})
        self._base_rates = [group['lr'] for group in self.optimizer.param_groups]
        self._handles = [wrapper.optimizer.register_step_post_hook(self._follow(wrapper)) for wrapper in self._wrappers]

    def _build(self, runner: Any, changes: Mapping[str, Any]) -> Optimizer:
        if 'type' in changes:
            config = {name: value for name, value in changes.items() if name != 'type'}
            cls = find_class(OPTIMIZERS, changes['type'], Optimizer, f'{KEY}.optimizer.type')
        else:
            student = self._wrappers[0].optimizer
            # ZeroRedundancyOptimizer shards another optimizer, which it keeps as `optim`.
            student = getattr(student, 'optim', student)
            cls = type(student)
            accepted = signature(cls).parameters
            config = {name: value for name, value in student.defaults.items() if name in accepted}
            if isinstance(config.get('lr'), (int, float)):
                config['lr'] = config['lr'] * batch_size_ratio(runner)
            config.update(changes)
        optimizer: Optimizer = construct(cls, {'params': self._params, **config}, f'{KEY}.optimizer')
        return optimizer

    def _follow(self, wrapper: OptimWrapper) -> Any:
        def follow(*_: Any) -> None:
            self.step(wrapper)

        return follow

    @torch.no_grad()
    def step(self, wrapper: OptimWrapper) -> None:
        """Update the parameters and drop their gradients.

        Args:
            wrapper: The student's optimizer wrapper, whose optimizer has just stepped.
        """
        for param in self._learning.idle_parameters():
            param.grad = None
        learning = [param for param in self._params if param.grad is not None]
        if not learning:
            return
        factor = schedule_factor(wrapper.optimizer.param_groups)
        for group, rate in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            if isinstance(rate, (int, float)):
                group['lr'] = rate * factor
        scaler = loss_scaler(wrapper)
        if self._clip is not None:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            self._clip(learning, **self._clip_settings)
        if scaler is not None:
            scaler.step(self.optimizer)
        else:
            self.optimizer.step()
        self.optimizer.zero_grad()

    def after_update(self) -> None:
        """Drop the gradients of an update of the student, which its loss scaler may have skipped."""
        self.optimizer.zero_grad()
        self._learning.clear()

    def remove(self) -> None:
        """Stop following the student's optimizer."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer, as ``torch.optim`` does."""
        return dict(self.optimizer.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`.

        Raises:
            ConfigError: If it is the state of other parameters.
        """
        try:
            self.optimizer.load_state_dict(state)
        except (ValueError, KeyError) as error:
            raise ConfigError(
                f'{KEY}: the resumed checkpoint holds the state of another optimizer ({error}); resume with the config '
                'of that run'
            ) from error
