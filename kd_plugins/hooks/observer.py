"""Observers: objects that receive a report of every training step with distillation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..distillers.base import Batch
from ..distillers.collection import Term

Shapes = Mapping[str, Sequence[tuple[int, ...]]]
"""Path of a tap to the shapes of its tensors."""


@dataclass(frozen=True)
class StepReport:
    """Record of one forward pass of the student and its distillers.

    Attributes:
        terms: One entry per distillation loss, with its graph.
        task_loss: Sum of the task losses, detached, of shape ``()``.
        batch: The batch.
        student_shapes: Shapes of the student's taps; empty where no distiller ran.
        teacher_shapes: Name of each teacher to the shapes of its taps; empty where no distiller ran.
        unlabelled: The batch of unlabelled images, where the student had a pass over one.
        untaught: Sum of the task losses whose factor is 0, times 0, of shape ``()``; ``None`` where there is none.
    """

    terms: Sequence[Term]
    task_loss: Tensor
    batch: Batch
    student_shapes: Shapes
    teacher_shapes: Mapping[str, Shapes]
    unlabelled: Batch | None = None
    untaught: Tensor | None = None

    def batch_of(self, term: Term) -> Batch:
        """Return the batch from which a term was computed."""
        return self.unlabelled if term.on == 'unlabelled' and self.unlabelled is not None else self.batch


class StepObserver:
    """Observer that keeps the latest report.

    Args:
        runs_all: Whether every distiller must run in every step, whatever its weight and its teacher's readiness. A
            restart then needs no ``load_from``.
    """

    def __init__(self, runs_all: bool = False) -> None:
        self.runs_all = runs_all
        self.report: StepReport | None = None

    def __call__(self, report: StepReport) -> None:
        """Receive the report of a step."""
        self.report = report


Observer = StepObserver | Callable[[StepReport], None]
"""Receiver of reports: a function of a report, or a :class:`StepObserver`."""


def is_dry_run(observers: Iterable[Observer]) -> bool:
    """Return whether an observer asks for every distiller, as commands do that run a few batches.

    >>> is_dry_run([print, StepObserver(runs_all=True)]), is_dry_run([print, StepObserver()])
    (True, False)
    """
    return any(isinstance(observer, StepObserver) and observer.runs_all for observer in observers)
