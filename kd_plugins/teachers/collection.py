"""All teachers of a run by name: their configs, the sources of the distillers and their state in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import CheckpointError, ConfigError, nearest
from ..registry import TASK_UTILS
from ..utils.build import build
from .base import BaseTeacher

ONLY = 'teacher'
"""Name of the teacher that the short form ``teacher=dict(...)`` gives."""
RESERVED = ('auto', 'student')
"""Sources of a distiller that are no teacher's name."""
NEW_RUN = 'resume with the config of that run, or start a new run with load_from'


def teacher_configs(distill: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configs of the teachers of a hook by their config key, which may be changed in place.

    Args:
        distill: Config of the hook.

    >>> teacher_configs({'teacher': {'type': 'A'}}), teacher_configs({'teachers': {'big': {'type': 'B'}, 'off': None}})
    ({'teacher': {'type': 'A'}}, {'teachers.big': {'type': 'B'}})
    """
    named = {f'teachers.{name}': config for name, config in (distill.get('teachers') or {}).items()}
    return {key: config for key, config in {ONLY: distill.get('teacher'), **named}.items() if config}


def build_teachers(teacher: Any, teachers: Any) -> dict[str, BaseTeacher]:
    """Return the teachers of a hook by name.

    Args:
        teacher: Config of the only teacher, or ``None``.
        teachers: Name to config of several teachers, or ``None``; an entry of ``None`` switches one off.

    Raises:
        ConfigError: If both are given, a name is not valid, or a config does not fit.
    """
    if teachers is None:
        return {} if teacher is None else {ONLY: build(TASK_UTILS, teacher, BaseTeacher, ONLY)}
    if teacher is not None:
        raise ConfigError(
            'default_hooks.distill has both teacher and teachers; name each one in teachers=dict(...) and set '
            'teacher=None'
        )
    if not isinstance(teachers, Mapping):
        raise ConfigError(
            f'default_hooks.distill.teachers is {type(teachers).__name__}; give a dict of name to config, for example '
            "dict(average=dict(type='kd_plugins.EMATeacher'))"
        )
    for name in teachers:
        if not isinstance(name, str) or not name.isidentifier() or name in RESERVED:
            raise ConfigError(
                f"default_hooks.distill.teachers: {name!r} is not a valid name; use letters, digits and '_', and "
                "neither 'auto' nor 'student'"
            )
    return {
        name: build(TASK_UTILS, config, BaseTeacher, f'teachers.{name}')
        for name, config in teachers.items()
        if config is not None
    }


def resolve_source(source: str, key: str, names: Iterable[str]) -> str | None:
    """Return the name of the teacher that a distiller's ``source`` means, ``None`` for the student itself.

    Args:
        source: ``'auto'``, ``'student'`` or the name of a teacher.
        key: Config key of the distiller, for the error sentence.
        names: Names of the teachers.

    Raises:
        ConfigError: If the source is ambiguous or names no teacher.

    >>> resolve_source('auto', 'distillers.a', ['teacher'])
    'teacher'
    >>> resolve_source('big', 'distillers.a', ['big', 'average'])
    'big'
    """
    known = list(names)
    if source == 'student':
        return None
    if source == 'auto':
        if len(known) > 1:
            raise ConfigError(f"{key}.source is 'auto', and the hook has {len(known)} teachers; {_valid(known)}")
        return known[0] if known else None
    if source in known:
        return source
    if source == ONLY and not known:
        raise ConfigError(
            f"{key}.source is 'teacher', but default_hooks.distill.teacher is None; "
            "nearest: teacher=dict(type='kd_plugins.EMATeacher')"
        )
    raise ConfigError(f"{key}.source is '{source}', which names no teacher; {nearest(source, [*known, *RESERVED], 6)}")


def resolve_sources(source: str, others: Iterable[str], key: str, names: Iterable[str]) -> tuple[str | None, ...]:
    """Return the names of all teachers of a distiller; that of the student itself is ``None``.

    Args:
        source: See :func:`resolve_source`.
        others: Names of the teachers beside it.
        key: Config key of the distiller, for the error sentence.
        names: Names of the teachers.

    Raises:
        ConfigError: If a source is ambiguous or names no teacher.

    >>> resolve_sources('big', ['average'], 'distillers.a', ['big', 'average'])
    ('big', 'average')
    """
    known = list(names)
    return tuple(resolve_source(one, key, known) for one in (source, *others))


def _valid(names: Iterable[str]) -> str:
    return 'valid: ' + ', '.join(repr(name) for name in [*names, 'student'])


def teacher_states(teachers: Mapping[str, BaseTeacher]) -> dict[str, Any]:
    """Return type, version and state of every teacher by name, for a checkpoint."""
    return {
        name: {'type': type(teacher).__name__, 'version': teacher.version, 'state': teacher.state_dict()}
        for name, teacher in teachers.items()
    }


def load_teacher_states(teachers: Mapping[str, BaseTeacher], saved: Any) -> list[str]:
    """Restore the states of :func:`teacher_states`.

    Args:
        teachers: The teachers, after :meth:`BaseTeacher.prepare`.
        saved: Part of a checkpoint; ``None`` where it has none.

    Returns:
        Names of saved teachers that this run does not have.

    Raises:
        ConfigError: If a teacher is not in the checkpoint, or was of another type or version.
        CheckpointError: If a state is damaged.
    """
    if not isinstance(saved, Mapping) or not all(isinstance(entry, Mapping) for entry in saved.values()):
        raise CheckpointError(
            "the resumed checkpoint has no readable entry 'distill.teachers', as one of another version of kd_plugins; "
            'finish that run with that version, or start a new run with load_from'
        )
    for name, teacher in teachers.items():
        if name not in saved:
            held = ', '.join(repr(other) for other in saved) or 'no teacher'
            raise ConfigError(f'{teacher.key}: the resumed checkpoint holds {held} instead of {name!r}; {NEW_RUN}')
        _load(teacher, saved[name])
    return [name for name in saved if name not in teachers]


def _load(teacher: BaseTeacher, entry: Mapping[str, Any]) -> None:
    kind, version = type(teacher).__name__, entry.get('version')
    if entry.get('type') != kind:
        raise ConfigError(
            f'{teacher.key}.type is {kind}, and in the resumed checkpoint it is {entry.get("type")}; {NEW_RUN}'
        )
    if version != teacher.version:
        raise ConfigError(
            f'{teacher.key}: the resumed checkpoint holds version {version} of the state of {kind}, and this version '
            f'of kd_plugins reads version {teacher.version}; finish that run with its own version, or start a new run '
            'with load_from'
        )
    try:
        teacher.load_state_dict(entry['state'])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if isinstance(error, ConfigError):
            raise
        text = ' '.join(str(error).split())[:200]
        raise CheckpointError(
            f'{teacher.key}: the state of {kind} in the resumed checkpoint does not fit this run '
            f'({type(error).__name__}: {text}); {NEW_RUN}'
        ) from error
