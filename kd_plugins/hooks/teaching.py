"""Prepare the teachers of a run, restore them and compare them with its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from ..distillers.base import BaseDistiller
from ..errors import ConfigError
from ..teachers.base import BaseTeacher
from ..teachers.classes import check_classes
from ..teachers.collection import load_teacher_states, resolve_source
from ..teachers.ema import EMATeacher
from ..teachers.frozen import FrozenTeacher
from .averages import run_average
from .building import model_builder
from .inheritance import Inheritance
from .loop_epochs import current_epoch
from .unlabelled import KEY, PSEUDO, Unlabelled


def prepare_teachers(
    runner: Any,
    student: nn.Module,
    teachers: Mapping[str, BaseTeacher],
    frozen: dict[str, nn.Module],
    resumed: Mapping[str, Any] | None,
    length: int | None,
    inheritance: Inheritance | None = None,
) -> None:
    """Create every teacher's network and restore its state.

    Args:
        runner: MMEngine's runner.
        student: The unwrapped student, with its weights.
        teachers: Name to teacher.
        frozen: Modules of the student that do not change in this run, by name.
        resumed: State of the hook in a resumed checkpoint, ``None`` in a new run.
        length: Iterations of an epoch, ``None`` where the loader has no length.
        inheritance: Parts of the student that start a new run with a teacher's weights, or ``None``.

    Raises:
        ConfigError: If a teacher does not fit the run or the checkpoint.
        CheckpointError: If the state is damaged.
    """
    build_model = model_builder(runner)
    # The teachers that copy the student come after the one that gives it a part of its weights.
    for teacher in sorted(teachers.values(), key=lambda one: not isinstance(one, FrozenTeacher)):
        teacher.frozen = frozen
        if isinstance(teacher, EMATeacher) and teacher.share is not None:
            teacher.average = run_average(runner, teacher.key, length)
        teacher.prepare(student, runner.iter, current_epoch(runner, length), build_model)
        if inheritance is not None and teacher is teachers[inheritance.source]:
            inheritance.apply(runner, student, teacher)
    if resumed is not None:
        saved = resumed.get('teachers') if isinstance(resumed, Mapping) else None
        for name in load_teacher_states(teachers, saved):
            runner.logger.warning(f'The resumed checkpoint holds the teacher {name!r}, which this config does not use.')
    for teacher in teachers.values():
        if length is None and teacher.counts_epochs:
            raise ConfigError(
                f'{teacher.key}: {type(teacher).__name__} counts epochs, and train_dataloader has no length to count '
                "them by; nearest: teacher=dict(type='kd_plugins.EMATeacher', begin=1000) with by_epoch=False"
            )


def check_teacher_classes(
    runner: Any,
    distillers: Iterable[BaseDistiller],
    teachers: Mapping[str, BaseTeacher],
    unlabelled: Unlabelled | None = None,
) -> None:
    """Compare the classes of the training data with those of the teachers of class scores and pseudo labels.

    Raises:
        ConfigError: If they differ.
    """
    metainfo = getattr(getattr(runner.train_dataloader, 'dataset', None), 'metainfo', None)
    for distiller in distillers:
        source = resolve_source(distiller.source, distiller.key, teachers)
        if source is not None and distiller.compares_classes:
            check_classes(teachers[source], distiller.key, metainfo)
            if distiller.second is not None:
                check_classes(teachers[distiller.second], distiller.key, metainfo)
    labeller = None if unlabelled is None else unlabelled.pseudo_teacher(teachers)
    if labeller is not None:
        check_classes(teachers[labeller], f'{KEY}.{PSEUDO}', metainfo)
