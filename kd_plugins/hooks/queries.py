"""Questions of distillers to their teacher and to the student about places that they have not looked at themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..distillers.base import BaseDistiller, Batch, Taps
from ..errors import ConfigError
from ..teachers.base import BaseTeacher
from ..utils.rng import seeded_rng
from .network_taps import as_float32
from .recomputation import check_answers
from .statistics import SeparateStatistics
from .student_view import KEY, StudentView


class Queries:
    """Features of the teachers for one step, and the distillers that ask about them.

    Args:
        distillers: Name to distiller.
        teachers: Name to teacher.
        sources: Name of each distiller to that of its teacher, ``None`` where the student teaches itself.
        view: Changes the images that the student sees; or ``None``.

    Raises:
        ConfigError: If a distiller asks and has no teacher that can answer.
    """

    def __init__(
        self,
        distillers: Mapping[str, BaseDistiller],
        teachers: Mapping[str, BaseTeacher],
        sources: Mapping[str, str | None],
        view: StudentView | None = None,
    ) -> None:
        self._distillers = {name: distiller for name, distiller in distillers.items() if distiller.asks}
        self._of_student = {name: distiller for name, distiller in distillers.items() if distiller.asks_student}
        self._teachers = dict(teachers)
        self._sources = dict(sources)
        self._features: dict[tuple[str | None, str], Any] = {}
        self._checked: set[str] = set()
        for name, distiller in self._distillers.items():
            source, kind = sources[name], type(distiller).__name__
            if source is None:
                raise ConfigError(
                    f"{distiller.key}: {kind} asks a teacher about the student's places, and its source is the student "
                    "itself; give a teacher, for example teacher=dict(type='kd_plugins.EMATeacher')"
                )
            model = teachers[source].model
            if not hasattr(model, 'extract_feat'):
                raise ConfigError(
                    f'{distiller.key}: {kind} asks the teacher with the features of its extract_feat, which '
                    f'{type(model).__name__} has not; nearest: FeatureDistiller or LogitDistiller'
                )
            mixer = None if view is None else view.views.get('unlabelled')
            if distiller.on == 'unlabelled' and mixer is not None and mixer.mixes:
                raise ConfigError(
                    f"{KEY}: {type(mixer).__name__} mixes images, so the student's places of {distiller.key} do not "
                    "exist for its teacher; use type='kd_plugins.PhotometricView', which mixes nothing"
                )

    def wants(self, teacher: str, names: Iterable[str]) -> bool:
        """Return whether one of these distillers asks a teacher.

        Args:
            teacher: Name of the teacher.
            names: Names of distillers.
        """
        return any(name in self._distillers and self._sources[name] == teacher for name in names)

    def run(self, teacher: str, images: str, args: tuple[Any, ...], kwargs: dict[str, Any], taps: Any) -> None:
        """Run a teacher on the arguments of the student's forward call, and keep its features.

        Args:
            teacher: Name of the teacher.
            images: ``'labelled'`` or ``'unlabelled'``.
            args: Positional arguments.
            kwargs: Keyword arguments.
            taps: Taps of the teacher.
        """
        self._features[teacher, images] = self._teachers[teacher].run_and_extract(args, kwargs, taps)

    def answered(
        self, student_outputs: Mapping[str, Taps], teacher_outputs: Mapping[str, Taps], batches: Mapping[str, Batch]
    ) -> dict[str, Taps]:
        """Return the outputs of the teachers with the answers to what the distillers ask, and drop the features.

        Args:
            student_outputs: Name of each running distiller to the outputs of its taps on the student.
            teacher_outputs: The same for its teacher.
            batches: ``'labelled'`` or ``'unlabelled'`` to the batch that the student saw.

        Raises:
            ConfigError: If an answer has the name of a tap.
        """
        outputs = dict(teacher_outputs)
        for name in student_outputs:
            if name in self._distillers:
                distiller, source = self._distillers[name], self._sources[name]
                features = self._features[source, distiller.on]
                model = self._teachers[str(source)].model
                batch = batches[distiller.on]
                with torch.set_grad_enabled(distiller.query_grad and torch.is_grad_enabled()):
                    answers = distiller.query(model, features, student_outputs[name], outputs[name], batch) or {}
                outputs[name] = _joined(distiller, outputs[name], answers)
        self.clear()
        return outputs

    def answered_by_student(
        self,
        student: nn.Module,
        student_outputs: Mapping[str, Taps],
        teacher_outputs: Mapping[str, Taps],
        batches: Mapping[str, Batch],
    ) -> dict[str, Taps]:
        """Return the outputs of the student with its answers to what the distillers ask.

        Args:
            student: The student, inside its forward pass. Its taps do not record.
            student_outputs: Name of each running distiller to the outputs of its taps on the student.
            teacher_outputs: The same for its teacher, with the answers of :meth:`answered`.
            batches: ``'labelled'`` or ``'unlabelled'`` to the batch that the student saw.

        Raises:
            ConfigError: If an answer has the name of a tap, or cannot be trained on several ranks.
        """
        outputs = dict(student_outputs)
        for name in student_outputs:
            if name in self._of_student:
                distiller = self._of_student[name]
                batch = batches[distiller.on]
                # Dropout must draw other numbers than the run, and the same in a resumed one. Statistics of places that
                # the student has not looked at itself are not those that it will be tested with.
                with seeded_rng(batch.draw_seed(distiller.key, 'student')), SeparateStatistics().used(student):
                    answers = distiller.query_student(student, outputs[name], teacher_outputs[name], batch) or {}
                if name not in self._checked and torch.is_grad_enabled():
                    self._checked.add(name)
                    check_answers(distiller.key, outputs[name], answers)
                outputs[name] = _joined(distiller, outputs[name], answers)
        return outputs

    def clear(self) -> None:
        """Drop the features."""
        self._features.clear()


def _joined(distiller: BaseDistiller, outputs: Taps, answers: Taps) -> Taps:
    """Return the outputs of taps with answers of the same network."""
    double = next((alias for alias in answers if alias in outputs), None)
    if double is not None:
        raise ConfigError(
            f'{distiller.key}: {type(distiller).__name__} has an answer and a tap with the name '
            f"'{double}'; give them different names"
        )
    lifted: dict[str, list[Tensor]] = {
        alias: [as_float32(tensor) for tensor in tensors] for alias, tensors in answers.items()
    }
    return {**outputs, **lifted}
