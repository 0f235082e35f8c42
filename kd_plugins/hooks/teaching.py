"""Prepare the teachers of a run, restore them and compare them with its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from ..distillers.base import BaseDistiller
from ..errors import ConfigError
from ..teachers.base import BaseTeacher
from ..teachers.classes import check_classes, class_names
from ..teachers.collection import load_teacher_states, resolve_sources
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
        for source in resolve_sources(distiller.source, distiller.others, distiller.key, teachers):
            if source is not None and distiller.compares_classes and distiller.teacher_classes is None:
                check_classes(teachers[source], distiller.key, metainfo)
    labeller = None if unlabelled is None else unlabelled.pseudo_teacher(teachers)
    if labeller is not None:
        check_classes(teachers[labeller], f'{KEY}.{PSEUDO}', metainfo)


def share_classes(runner: Any, distillers: Iterable[BaseDistiller], teachers: Mapping[str, BaseTeacher]) -> None:
    """Tell distillers with ``teacher_classes`` which classes their teachers and the training data have.

    Raises:
        ConfigError: If the names of either are not known, or differ between teachers or members of the data set.
    """
    metainfo = getattr(getattr(runner.train_dataloader, 'dataset', None), 'metainfo', None)
    for distiller in distillers:
        if distiller.teacher_classes is None:
            continue
        data = class_names(metainfo)
        if len(data) != 1:
            raise ConfigError(
                f'{distiller.key}.teacher_classes needs one list of classes of train_dataloader.dataset, which has '
                f'{len(data)}; set metainfo=dict(classes=[...]) there'
            )
        sources = resolve_sources(distiller.source, distiller.others, distiller.key, teachers)
        known = [_classes_of(distiller, None if source is None else teachers[source]) for source in sources]
        if len(set(known)) > 1:
            raise ConfigError(
                f'{distiller.key}.teacher_classes: its teachers know different classes; give each of them a distiller '
                'of its own'
            )
        teacher = 'the student' if sources[0] is None else teachers[sources[0]].key
        distiller.take_classes(teacher, known[0], data[0])


def _classes_of(distiller: BaseDistiller, teacher: BaseTeacher | None) -> tuple[str, ...]:
    """Return the names of a teacher's classes, from the setting or from its checkpoint."""
    if isinstance(distiller.teacher_classes, list):
        return tuple(distiller.teacher_classes)
    names = class_names({'classes': getattr(teacher, 'classes', None)})
    if not names:
        key = 'the student' if teacher is None else teacher.key
        raise ConfigError(
            f"{distiller.key}.teacher_classes is 'checkpoint', and {key} has no checkpoint that names its classes; "
            'give their names in the order of its logits'
        )
    return names[0]
