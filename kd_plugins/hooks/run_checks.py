"""Checks of a runner before its first iteration: its model, its switches and the begin of teaching."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mmengine.model import is_model_wrapper
from torch import nn

from ..config.reading import read_config
from ..distillers.base import BaseDistiller
from ..errors import ConfigError, KDPluginsError
from ..schedules import WeightSchedule
from ..teachers.base import BaseTeacher
from ..teachers.collection import resolve_sources
from ..utils.checks import check_choice, check_flag
from .task_weights import TaskWeights
from .unlabelled import KEY, PSEUDO, Unlabelled

SHARDING = ('FullyShard', 'FSDP', 'DeepSpeed', 'ColossalAI', 'CollosalAI')
"""Parts of the names of wrappers and strategies that divide the parameters of a model between ranks."""
CHECKS = ('classes', 'data')
"""Checks of the config that the hook runs and ``checks=dict(NAME=False)`` switches off."""
SAMPLES = 1000
"""Number of iterations at which :func:`check_begins` reads a schedule."""


def is_sharding(name: str) -> bool:
    """Return whether a wrapper or strategy divides the parameters of a model between ranks, by the name of its class.

    >>> is_sharding('DeepSpeedStrategy'), is_sharding('MMDistributedDataParallel')
    (True, False)
    """
    return any(part in name for part in SHARDING)


def student_of(runner: Any) -> nn.Module:
    """Return the model of a runner without its wrapper.

    Args:
        runner: The runner.

    Raises:
        ConfigError: If the model cannot be tapped: its parameters are sharded, or it is a semi-supervised detector.
    """
    model: Any = runner.model
    name = type(model).__name__
    if is_sharding(name) or (is_model_wrapper(model) and not hasattr(model, 'module')):
        raise ConfigError(
            f"model_wrapper_cfg or strategy: the model is wrapped in '{name}', which has no single inner module with "
            "whole parameters to tap; nearest: 'MMDistributedDataParallel', 'DDPStrategy'"
        )
    student: nn.Module = model.module if is_model_wrapper(model) else model
    if any(cls.__name__ == 'SemiBaseDetector' for cls in type(student).__mro__):
        raise ConfigError(
            f"model.type is '{type(student).__name__}', a semi-supervised detector that trains on several branches of "
            'data at once, which distillers do not support; distill the detector alone: set model to its model.detector'
        )
    return student


def check_switches(checks: Any) -> dict[str, bool]:
    """Return which checks of the config run, from the config.

    Args:
        checks: Name of a check to whether it runs, or ``None`` for all.

    Raises:
        ConfigError: If a name is unknown or a value is not a flag.

    >>> check_switches({'classes': False})
    {'classes': False, 'data': True}
    """
    key = 'default_hooks.distill.checks'
    if checks is not None and not isinstance(checks, Mapping):
        raise ConfigError(f'{key} is {checks!r}; give a dict, for example dict(classes=False)')
    for name, value in (checks or {}).items():
        check_choice(f'a name in {key}', name, CHECKS)
        check_flag(f'{key}.{name}', value)
    return {**dict.fromkeys(CHECKS, True), **(checks or {})}


def schedules_of(
    name: str, distillers: Mapping[str, BaseDistiller], unlabelled: Unlabelled | None
) -> dict[str, WeightSchedule]:
    """Return the schedules whose product is the weight of a distiller, by their config keys.

    Args:
        name: Name of the distiller, or ``'pseudo'`` for the losses on pseudo labels.
        distillers: Name to distiller.
        unlabelled: The unlabelled images, or ``None``.
    """
    schedules: dict[str, WeightSchedule] = {}
    if name in distillers:
        schedules[f'distillers.{name}.weight'] = distillers[name].schedule
    if unlabelled is not None and (name not in distillers or distillers[name].on == KEY):
        schedules[f'{KEY}.weight'] = unlabelled.schedule
    return schedules


def check_begins(
    runner: Any,
    distillers: Mapping[str, BaseDistiller],
    teachers: Mapping[str, BaseTeacher],
    length: int | None,
    unlabelled: Unlabelled | None = None,
    task_weights: TaskWeights | None = None,
) -> None:
    """Refuse a run in which nothing would be taught, because schedules or teachers begin after its end.

    It is a warning where another distiller teaches, or where the config file trains for long enough and this run was
    shortened, as ``--cfg-options train_cfg.max_iters=10`` does for a trial.

    Args:
        runner: The runner.
        distillers: Name to distiller.
        teachers: Name to teacher, prepared and restored.
        length: Iterations of an epoch, ``None`` where the loader has no length.
        unlabelled: The unlabelled images, or ``None``.
        task_weights: Factors of the task losses, or ``None``.

    Raises:
        ConfigError: If nothing is taught, or if a schedule counts epochs and the loader has no length.
    """
    parts = {
        name: _Part(schedules_of(name, distillers, unlabelled), one.source, one.key, one.others)
        for name, one in distillers.items()
    }
    if unlabelled is not None and unlabelled.pseudo is not None:
        parts[PSEUDO] = _Part(schedules_of(PSEUDO, distillers, unlabelled), unlabelled.source, f'{KEY}.{PSEUDO}')
    every = {key: schedule for part in parts.values() for key, schedule in part.schedules.items()}
    every.update({} if task_weights is None else task_weights.by_config_key)
    by_epoch = next((key for key, schedule in every.items() if schedule.by_epoch), None)
    if length is None and by_epoch is not None:
        raise ConfigError(f'{by_epoch}.by_epoch is True, but train_dataloader has no length; use by_epoch=False')
    wanted = {
        name: part for name, part in parts.items() if all(schedule.value > 0 for schedule in part.schedules.values())
    }
    idle = _idle(runner.iter, wanted, teachers, length or 1, runner.max_iters)
    if not idle:
        return
    sentences = list(dict.fromkeys(idle.values()))
    if len(idle) == len(wanted):
        planned = _planned_iterations(runner, length or 1)
        if planned is None or len(_idle(runner.iter, wanted, teachers, length or 1, planned)) == len(wanted):
            raise ConfigError(sentences[0])
    for sentence in sentences:
        runner.logger.warning(f'{sentence}.')


class _Part(NamedTuple):
    """A distiller, or the losses on pseudo labels: its weights by config key, its teachers and its own key."""

    schedules: dict[str, WeightSchedule]
    source: str
    key: str
    others: tuple[str, ...] = ()


def _idle(
    start: int,
    parts: Mapping[str, _Part],
    teachers: Mapping[str, BaseTeacher],
    length: int,
    max_iters: int,
) -> dict[str, str]:
    """Return a sentence for each part that teaches nothing in a run of ``max_iters`` iterations."""
    sentences: dict[str, str] = {}
    for name, part in parts.items():
        steps = _sampled(part.schedules.values(), length, max_iters)
        for key, schedule in part.schedules.items():
            if name not in sentences and not any(schedule(step, max_iters, length) > 0 for step in steps):
                unit = 'epoch' if schedule.by_epoch else 'iteration'
                what = 'unlabelled images teach' if key == f'{KEY}.weight' else 'this distiller teaches'
                sentences[name] = (
                    f'{key} begins at {unit} {schedule.begin}, and the run has {max_iters} iterations '
                    f'({length} in an epoch), so {what} nothing; nearest: begin=0'
                )
        if name in sentences:
            continue
        named = ' times '.join(part.schedules)
        schedules = part.schedules.values()
        counting = [step for step in steps if all(schedule(step, max_iters, length) > 0 for schedule in schedules)]
        if not counting:
            sentences[name] = f'{named} is 0 in every iteration, so nothing is taught; let both be above 0 together'
            continue
        end = min(counting[-1] + max_iters // SAMPLES + 1, max_iters)
        for source in resolve_sources(part.source, part.others, part.key, teachers):
            if source is None or name in sentences:
                continue
            try:
                teachers[source].check_schedule(start, length, max_iters)
            except ConfigError as error:
                sentences[name] = str(error)
            else:
                if start < end and not _begins(teachers[source], start, length, end):
                    sentences[name] = (
                        f'{named} is 0 from iteration {end} on, and {teachers[source].key} is not ready before, so it '
                        'teaches nothing; nearest: a later end of the weight, or an earlier teacher'
                    )
    return sentences


def _begins(teacher: BaseTeacher, start: int, length: int, end: int) -> bool:
    """Return whether a teacher is ready in a run that ends with iteration ``end``."""
    try:
        teacher.check_schedule(start, length, end)
    except ConfigError:
        return False
    return True


def _sampled(schedules: Iterable[WeightSchedule], length: int, max_iters: int) -> list[int]:
    """Return iterations, spread over the run and around each bound of the schedules, at which they are read."""
    steps = set(range(0, max_iters, max(1, max_iters // SAMPLES)))
    for schedule in schedules:
        scale = length if schedule.by_epoch else 1
        for bound in (schedule.begin, schedule.end, *getattr(schedule, 'milestones', ())):
            first = max_iters if bound is None else math.ceil(bound * scale)
            steps.update((first - 1, first, first + 1))
    return sorted(step for step in steps if 0 <= step < max_iters)


def _planned_iterations(runner: Any, length: int) -> int | None:
    """Return the iterations that the run's config file asks for, ``None`` where they are unknown."""
    if not getattr(runner.cfg, 'filename', None):
        return None
    try:
        train_cfg = read_config(runner.cfg.filename).get('train_cfg') or {}
    except KDPluginsError:
        return None
    if train_cfg.get('max_iters'):
        return int(train_cfg['max_iters'])
    return int(train_cfg['max_epochs']) * length if train_cfg.get('max_epochs') else None
