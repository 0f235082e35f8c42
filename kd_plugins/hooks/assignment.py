"""Assignment of the teachers of a run to its distillers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from ..distillers.base import BaseDistiller
from ..teachers.base import BaseTeacher
from ..teachers.collection import resolve_second, resolve_source


class Assignment:
    """Teachers of every distiller.

    Args:
        distillers: Name to distiller.
        teachers: Name to teacher.

    Raises:
        ConfigError: If a distiller names no teacher of these.
    """

    def __init__(self, distillers: Mapping[str, BaseDistiller], teachers: Mapping[str, BaseTeacher]) -> None:
        self.teachers = dict(teachers)
        self.sources = {name: resolve_source(one.source, one.key, teachers) for name, one in distillers.items()}
        """Name of each distiller to that of its teacher, ``None`` where the student teaches itself."""
        self.seconds = {
            name: resolve_second(one.second, self.sources[name], one.key, teachers) for name, one in distillers.items()
        }
        """Name of each distiller to that of its second teacher, ``None`` where it has none."""

    def models(self, name: str, student: nn.Module) -> list[nn.Module]:
        """Return the models that teach a distiller, the first teacher last, whose constants it keeps.

        Args:
            name: Name of the distiller.
            student: The student, which may teach itself.
        """
        source, second = self.sources[name], self.seconds[name]
        first = student if source is None else self.teachers[source].model
        return [first] if second is None else [self.teachers[second].model, first]

    def is_ready(self, name: str) -> bool:
        """Return whether a distiller's teachers are ready; the student itself always is.

        Args:
            name: Name of the distiller.
        """
        names = self.sources[name], self.seconds[name]
        return all(teacher is None or self.teachers[teacher].ready for teacher in names)

    def needed(self, names: Iterable[str]) -> list[str]:
        """Return the names of the teachers of these distillers, in the order of the config.

        Args:
            names: Names of distillers.
        """
        wanted = {source for name in names for source in (self.sources[name], self.seconds[name])}
        return [name for name in self.teachers if name in wanted]
