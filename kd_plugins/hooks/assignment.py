"""Assignment of the teachers of a run to its distillers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from ..distillers.base import BaseDistiller
from ..teachers.base import BaseTeacher
from ..teachers.collection import resolve_sources


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
        self.all = {
            name: resolve_sources(one.source, one.others, one.key, teachers) for name, one in distillers.items()
        }
        """Name of each distiller to those of its teachers, ``None`` where the student teaches itself."""
        self.sources = {name: every[0] for name, every in self.all.items()}
        """Name of each distiller to that of its first teacher."""

    def models(self, name: str, student: nn.Module) -> list[nn.Module]:
        """Return the models that teach a distiller, the first teacher last, whose constants it keeps.

        Args:
            name: Name of the distiller.
            student: The student, which may teach itself.
        """
        return [student if one is None else self.teachers[one].model for one in reversed(self.all[name])]

    def is_ready(self, name: str) -> bool:
        """Return whether a distiller's teachers are ready; the student itself always is.

        Args:
            name: Name of the distiller.
        """
        return all(teacher is None or self.teachers[teacher].ready for teacher in self.all[name])

    def needed(self, names: Iterable[str]) -> list[str]:
        """Return the names of the teachers of these distillers, in the order of the config.

        Args:
            names: Names of distillers.
        """
        wanted = {source for name in names for source in self.all[name]}
        return [name for name in self.teachers if name in wanted]
