"""Report of preflight on the losses of distillers: values, weights, gradients, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..distillers.collection import Term
from ..errors import ConfigError
from ..hooks import DistillHook
from ..hooks.observer import StepReport
from ..hooks.run_checks import schedules_of
from ..hooks.unlabelled import KEY as UNLABELLED
from ..hooks.unlabelled import PSEUDO
from .alignment import gradients

ZERO_GRADIENT = 1e-12
ZERO_LOSS = 1e-6
DOMINANT = 50.0
"""Gradient of a term at its largest weight, relative to that of the task, from which on a remark is made."""


@dataclass
class TermRow:
    """Row of the report for one loss of one distiller at the first batch.

    Attributes:
        name: Key in the loss dict.
        raw: Unweighted value.
        weight: Weight at the first iteration.
        peak: Largest weight of the run.
        ratio: Value at peak weight, relative to the task loss.
        gradient: Norm of the gradient of the unweighted value on the student's parameters.
    """

    name: str
    raw: float
    weight: float
    peak: float
    ratio: float
    gradient: float


@dataclass
class Preflight:
    """Report on the first batch.

    Attributes:
        taps: Rows of path, shapes in the student, shapes in the teacher.
        terms: One entry per distillation loss.
        task: Each task loss by name.
        task_gradient: Gradient norm of the sum of task losses.
        teacher: Rows about the teacher's weights.
        problems: Sentences about settings that train nothing or break the training.
        remarks: Sentences about everything else that the user should know.
    """

    taps: list[tuple[str, str, str]] = field(default_factory=list)
    terms: list[TermRow] = field(default_factory=list)
    task: dict[str, float] = field(default_factory=dict)
    task_gradient: float = 0.0
    teacher: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def shapes_text(shapes: Sequence[tuple[int, ...]], limit: int = 6) -> str:
    """Return shapes as text in one line.

    >>> shapes_text([(2, 64, 16, 20), (2, 64, 8, 10)])
    '2x64x16x20, 2x64x8x10'
    """
    listed = ', '.join('x'.join(map(str, shape)) or 'scalar' for shape in shapes[:limit])
    return listed + (f', {len(shapes) - limit} more' if len(shapes) > limit else '') or '-'


def gradient_norm(value: Tensor, parameters: list[nn.Parameter]) -> float:
    """Return the norm of the gradient of ``value`` over all ``parameters``, or 0 where it has no graph."""
    norms = [gradient.float().norm() for gradient in gradients(value, parameters) if gradient is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def gradient_norms(terms: Sequence[Term], parameters: list[nn.Parameter]) -> list[float]:
    """Return the gradient norm of each term; the losses on pseudo labels share that of their sum.

    They are the student's own losses, of which a detector with queries has dozens.
    """
    pseudo = [term.raw for term in terms if term.distiller == PSEUDO]
    shared = gradient_norm(torch.stack(pseudo).sum(), parameters) if pseudo else 0.0
    return [shared if term.distiller == PSEUDO else gradient_norm(term.raw, parameters) for term in terms]


def peak_weight(hook: DistillHook, name: str, max_iters: int, epoch_length: int, samples: int = 2000) -> float:
    """Return the largest weight that a distiller reaches in the run.

    Args:
        hook: The hook with the distiller.
        name: Name of the distiller, or ``'pseudo'``.
        max_iters: Number of iterations of the run.
        epoch_length: Number of iterations of an epoch.
        samples: Number of iterations, at equal distances, at which the schedule is read.
    """
    stride = max(max_iters // samples, 1)
    return max(
        hook.weight_at(name, iteration, max_iters, epoch_length)
        for iteration in [*range(0, max_iters, stride), max_iters - 1]
    )


def not_finite(losses: dict[str, Tensor]) -> list[str]:
    """Return a problem for each loss that is not finite."""
    return [
        f"'{name}' is {float(value)} on the first batch; check the labels and the input normalisation"
        for name, value in losses.items()
        if not torch.isfinite(value)
    ]


def _tap_rows(report: StepReport, result: Preflight) -> None:
    teachers = report.teacher_shapes
    paths = [*report.student_shapes, *(path for shapes in teachers.values() for path in shapes)]
    for path in dict.fromkeys(paths):
        student = report.student_shapes.get(path, [])
        taught = {name: shapes[path] for name, shapes in teachers.items() if shapes.get(path)}
        texts = [
            shapes_text(shapes) if len(teachers) == 1 else f'{name}: {shapes_text(shapes)}'
            for name, shapes in taught.items()
        ]
        result.taps.append((path, shapes_text(student), '; '.join(texts) or shapes_text([])))
        if not student and not taught:
            result.problems.append(
                f"tap '{path}' never fired; heads that call self.forward(...) need taps on their last layers"
            )


def nothing_selected(distiller: nn.Module) -> str | None:
    """Return the remark on a distiller whose selection is empty, None where it has no selection or a location in it.

    Args:
        distiller: A distiller that has seen a batch.
    """
    counts = getattr(getattr(distiller, 'regions', None), 'counts', None)
    if counts is None or int(counts[0]):
        return None
    return f'selected 0 of {int(counts[1])} locations; normal before the teacher has learned'


def inspect_terms(
    hook: DistillHook, report: StepReport | None, runner: Any, result: Preflight, objects: bool = True
) -> None:
    """Add the terms of the first step, and the problems among them, to a report.

    Args:
        hook: The hook of the run.
        report: Report of the step; ``None`` where no distiller ran.
        runner: The runner, inside its training loop.
        result: The report; changed in place.
        objects: Whether the batch has objects; without, a term may have no gradient.

    Raises:
        ConfigError: If no distiller ran.
    """
    if report is None:
        raise ConfigError(
            "default_hooks.distill: the model's forward(mode='loss') returned no loss dict, so no distiller ran; "
            'distillers need an OpenMMLab model'
        )
    parameters = [value for value in runner.model.parameters() if value.requires_grad]
    _tap_rows(report, result)
    task = float(report.task_loss)
    length = len(runner.train_dataloader)
    norms = gradient_norms(report.terms, parameters)
    distillers = dict.fromkeys(term.distiller for term in report.terms)
    peaks = {name: peak_weight(hook, name, runner.max_iters, length) for name in distillers}
    for term, gradient in zip(report.terms, norms):
        name, distiller, raw = term.key, term.distiller, term.raw
        peak = peaks[distiller]
        value = float(raw.detach())
        ratio = peak * value / task if task else float('nan')
        empty = nothing_selected(hook.distillers[distiller]) if distiller in hook.distillers else None
        result.terms.append(TermRow(name, value, term.weight, peak, ratio, gradient))
        schedules = schedules_of(distiller, hook.distillers, hook.unlabelled)
        key = next((key for key, schedule in schedules.items() if not schedule.value), next(iter(schedules)))
        if peak == 0:
            result.remarks.append(f"{key} is 0 during the whole run, so '{name}' changes nothing")
        elif not raw.isfinite():
            continue
        elif not torch.isfinite(torch.tensor(gradient)):
            result.problems.append(f"'{name}' has a gradient that is not finite")
        elif not hook.teachers and abs(value) <= ZERO_LOSS:
            result.remarks.append(
                f"'{name}' is 0 on the first batch, because the teaching layer and the learning layers give the same "
                'output, as branches do that start at 0; check that it rises'
            )
        elif gradient <= ZERO_GRADIENT and empty:
            result.remarks.append(f"'{name}' has no gradient on the student: distillers.{distiller}.select {empty}")
        elif gradient <= ZERO_GRADIENT and term.on == UNLABELLED and abs(value) <= ZERO_LOSS:
            result.remarks.append(
                f"'{name}' is 0 on the first unlabelled images: the teacher gives nothing there that counts; normal "
                'before it has learned'
            )
        elif gradient <= ZERO_GRADIENT and not objects:
            result.remarks.append(f"'{name}' has no gradient on the student, because the batch has no object")
        elif gradient <= ZERO_GRADIENT:
            result.problems.append(
                f"'{name}' has no gradient on the student although {key} becomes {peak:g}: "
                'its taps lie where the student does not learn (frozen stages, detached outputs), or nothing in '
                'the batch counts'
            )
    result.problems += not_finite({term.key: term.raw for term in report.terms})


def dominant_terms(result: Preflight) -> list[str]:
    """Return a remark for each term whose gradient leaves that of the task no say.

    Sums over positions depend on the scale and size of the teacher's maps, so that a published weight fits one teacher.

    Args:
        result: A report with terms and the gradient of the task, on the user's own data.
    """
    remarks = []
    for term in result.terms:
        ratio = term.peak * term.gradient / result.task_gradient if result.task_gradient else 0.0
        if ratio > DOMINANT:
            remarks.append(
                f"'{term.name}' has {ratio:.0f} times the gradient of the task at its largest weight ({term.peak:g}), "
                'so that the task hardly counts; lower the weight, or let kd_plugins.GradientShare find it'
            )
    return remarks
