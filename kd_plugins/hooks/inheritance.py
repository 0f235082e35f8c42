"""Start parts of the student from the weights of a finished teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..checkpoints import LoadReport, compare_weights
from ..errors import ConfigError
from ..taps import module_at
from ..teachers.base import BaseTeacher
from ..teachers.frozen import FrozenTeacher
from ..teachers.tensor_slots import tensor_slots
from ..utils.checks import check_module_paths
from .restart import KEY as RESTART_KEY

KEY = 'default_hooks.distill.init_from_teacher'


def check_parts(value: Any) -> list[str]:
    """Return the dotted paths of the modules that start from the teacher.

    Args:
        value: ``init_from_teacher`` in the config, not None.

    Raises:
        ConfigError: If it is not a list of different module paths.

    >>> check_parts(('neck', 'bbox_head'))
    ['neck', 'bbox_head']
    """
    parts = check_module_paths(KEY, value, ['neck', 'bbox_head'])
    for part in parts:
        above = next((other for other in parts if part.startswith(f'{other}.')), None)
        if above is not None or parts.count(part) > 1:
            raise ConfigError(f"{KEY} holds '{part}', which is part of '{above or part}' there; leave it out")
    return parts


def giving_teacher(teachers: Mapping[str, BaseTeacher]) -> str:
    """Return the name of the frozen teacher that gives its weights.

    Args:
        teachers: Name to teacher, of all that the config names.

    Raises:
        ConfigError: If there is not exactly one.
    """
    frozen = [name for name, teacher in teachers.items() if isinstance(teacher, FrozenTeacher)]
    if len(frozen) == 1:
        return frozen[0]
    example = "teacher=dict(type='kd_plugins.FrozenTeacher', config=..., checkpoint=...)"
    if frozen:
        raise ConfigError(f'{KEY}: the hook has {len(frozen)} frozen teachers ({", ".join(frozen)}); give one')
    if not teachers:
        raise ConfigError(f'{KEY} needs a finished teacher, and default_hooks.distill.teacher is None; give {example}')
    kinds = ', '.join(f'{teacher.key} is {type(teacher).__name__}' for teacher in teachers.values())
    raise ConfigError(f'{KEY} needs a finished teacher, and {kinds}, which starts from the student; give {example}')


def inherit(student: nn.Module, teacher: FrozenTeacher, parts: Sequence[str]) -> LoadReport:
    """Copy the tensors of some modules whose names and shapes agree from the teacher into the student.

    Source: the inheriting strategy of FGD (arXiv 2111.11837).

    Args:
        student: The student.
        teacher: The teacher, prepared, before its layers are folded.
        parts: Dotted paths of modules that both networks have.

    Returns:
        Names of the tensors of these modules that were copied, and of those that were not.

    Raises:
        ConfigError: If a path names no module of the student or of the teacher, or if nothing of a module fits.
    """
    given, current = teacher.model.state_dict(), student.state_dict()
    slots = tensor_slots(student, unique=False)
    total = LoadReport()
    for part in parts:
        for role, model in (('student', student), ('teacher', teacher.model)):
            module_at(model, part, KEY, role)
        report = compare_weights(
            *({n: x for n, x in one.items() if n.startswith(f'{part}.')} for one in (given, current))
        )
        if not report.loaded:
            text = f'their shapes differ ({shapes_text(report)})' if report.mismatched else 'they hold no common tensor'
            raise ConfigError(f"{KEY}: nothing of '{part}' fits: {text}; leave '{part}' out")
        # load_state_dict would take weights without the version of their module for those of an older release.
        for name in report.loaded:
            slots[name].tensor.detach().copy_(given[name])
        total.loaded += report.loaded
        total.missing += report.missing
        total.unexpected += report.unexpected
        total.mismatched.update(report.mismatched)
    return total


def shapes_text(report: LoadReport) -> str:
    """Return all tensors whose shapes differ, with both shapes."""
    return ', '.join(
        f"'{name}': {theirs} in the teacher, {ours} in the student"
        for name, (theirs, ours) in report.mismatched.items()
    )


def sentences(report: LoadReport, parts: Sequence[str], key: str) -> list[str]:
    """Return what :func:`inherit` copied, and what it did not, for the log.

    Args:
        report: Its result.
        parts: The modules.
        key: Config key of the teacher.
    """
    copied = f'{KEY}: {len(report.loaded)} tensors of {", ".join(parts)} start from {key}.'
    left = [
        (report.mismatched, f'have another shape ({shapes_text(report)})'),
        (report.missing, f'are not in the teacher ({", ".join(report.missing)})'),
    ]
    return [
        copied,
        *(f'{KEY}: {len(names)} tensors keep their own start: they {text}.' for names, text in left if names),
    ]


class Inheritance:
    """Parts of the student that start a new run with the weights of the frozen teacher.

    Args:
        parts: ``init_from_teacher`` in the config.
        teachers: Name to teacher, of all that the config names.
        restart: ``restart`` in the config.

    Attributes:
        source: Name of the teacher.
        report: What was copied; ``None`` before the start and in a resumed run.

    Raises:
        ConfigError: If the parts are no list of paths, there is not exactly one frozen teacher, or parts restart.
    """

    def __init__(self, parts: Any, teachers: Mapping[str, BaseTeacher], restart: Any = None) -> None:
        self.parts = check_parts(parts)
        self.source = giving_teacher(teachers)
        self.report: LoadReport | None = None
        if restart is not None:
            raise ConfigError(f'{KEY} and {RESTART_KEY} both decide where the student starts; set one of them to None')

    def apply(self, runner: Any, student: nn.Module, teacher: BaseTeacher) -> None:
        """Copy the weights and log what was copied; a resumed run keeps those of its checkpoint.

        Args:
            runner: The runner, in ``before_train``.
            student: The student.
            teacher: The teacher :attr:`source`, prepared.
        """
        if runner.iter > 0:
            return
        assert isinstance(teacher, FrozenTeacher)
        self.report = inherit(student, teacher, self.parts)
        copied, *left = sentences(self.report, self.parts, teacher.key)
        runner.logger.info(copied)
        for sentence in left:
            runner.logger.warning(sentence)
