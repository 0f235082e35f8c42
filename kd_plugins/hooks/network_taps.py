"""Taps of all distillers of a run, on its student and on its teachers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from ..distillers.base import BaseDistiller, Taps
from ..distillers.sources import alias_beside
from ..errors import ConfigError
from ..tap_paths import TapPath
from ..taps import TapSet
from ..teachers.base import BaseTeacher

Shapes = dict[str | None, dict[str, list[tuple[int, ...]]]]
"""Name of each teacher, ``None`` for the student, to path and shapes of the recorded tensors."""


class NetworkTaps:
    """Taps of all distillers.

    Args:
        student: The student.
        teachers: Name to teacher.
        distillers: Name to distiller.
        sources: Name of each distiller to those of its teachers, ``None`` where the student teaches itself.

    Raises:
        ConfigError: If a path matches nothing, or names parameters where a distiller compares outputs.
    """

    def __init__(
        self,
        student: nn.Module,
        teachers: Mapping[str, BaseTeacher],
        distillers: Mapping[str, BaseDistiller],
        sources: Mapping[str, tuple[str | None, ...]],
    ) -> None:
        self._distillers = dict(distillers)
        self._sources = dict(sources)
        paths: dict[str | None, dict[str, str]] = {source: {} for source in (None, *teachers)}
        for name, distiller in distillers.items():
            key = f'distillers.{name}'
            _check_parameters(distiller)
            paths[None].update({f'{key}.{alias}': path for alias, path in distiller.student_taps().items()})
            teacher_paths = {f'{key}.{alias} (teacher)': path for alias, path in distiller.teacher_taps().items()}
            for source in sources[name]:
                paths[source].update(teacher_paths)
        self.teachers: dict[str, TapSet] = {}
        try:
            for name, teacher in teachers.items():
                role = 'teacher' if len(teachers) == 1 else f"teacher '{name}'"
                self.teachers[name] = TapSet(teacher.model, paths[name], role)
            self.student = TapSet(student, paths[None], 'student')
        except ConfigError:
            for taps in self.teachers.values():
                taps.remove()
            raise
        self._all: dict[str | None, TapSet] = {None: self.student}
        self._all.update(self.teachers)

    def read_student(self, names: Collection[str]) -> dict[str, Taps]:
        """Return the outputs of the student's taps of some distillers."""
        return {
            name: {
                alias: [as_float32(tensor) for tensor in self.student.read(path, alias in distiller.may_rest)]
                for alias, path in distiller.student_taps().items()
            }
            for name, distiller in self._distillers.items()
            if name in names
        }

    def student_tensors(self, names: Collection[str]) -> dict[str, list[Tensor]]:
        """Return name of the distiller to the tensors at its taps on the student, as the network gave them."""
        return {
            name: [
                tensor for path in dict.fromkeys(one.student_taps().values()) for tensor in self.student.tensors(path)
            ]
            for name, one in self._distillers.items()
            if name in names
        }

    def student_parameters(self) -> dict[str, list[Tensor]]:
        """Return config key of each distiller that reads parameters, and teaches, to those of the student."""
        reading = {name: one for name, one in self._distillers.items() if one.reads_parameters and one.schedule.value}
        return {reading[name].key: tensors for name, tensors in self.student_tensors(reading).items()}

    def read_teachers(self, names: Collection[str]) -> dict[str, Taps]:
        """Return the outputs of the taps on the teachers of some distillers, without gradient."""
        outputs: dict[str, Taps] = {}
        for name, distiller in self._distillers.items():
            if name in names:
                first, *others = self._sources[name]
                outputs[name] = self._read(distiller, first)
                for other in others:
                    outputs[name] = {**outputs[name], **self._read(distiller, other, beside=other)}
        return outputs

    def _read(self, distiller: BaseDistiller, source: str | None, beside: str | None = None) -> Taps:
        taps = self._all[source]
        return {
            alias if beside is None else alias_beside(beside, alias): [
                as_float32(tensor.detach()) for tensor in taps.read(path)
            ]
            for alias, path in distiller.teacher_taps().items()
        }

    def shapes(self) -> Shapes:
        """Return the shapes of all recorded tensors."""
        return {source: taps.shapes() for source, taps in self._all.items()}

    def clear(self) -> None:
        """Stop recording and drop every recorded tensor."""
        for taps in self._all.values():
            taps.stop()
            taps.clear()

    def remove(self) -> None:
        """Remove every hook from the networks."""
        for taps in self._all.values():
            taps.remove()


def _check_parameters(distiller: BaseDistiller) -> None:
    """Refuse a tap on parameters where the distiller compares outputs of modules."""
    for alias, path in {**distiller.teacher_taps(), **distiller.student_taps()}.items():
        if TapPath.parse(path, f'{distiller.key}.{alias}').parameters and not distiller.reads_parameters:
            raise ConfigError(
                f"{distiller.key}.{alias}: '{path}' names parameters, and {type(distiller).__name__} compares outputs "
                'of modules; nearest: kd_plugins.ParameterAnchor, or the path of a module'
            )


def as_float32(tensor: Tensor) -> Tensor:
    """Return half precision as float32, other dtypes unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
