"""Preflight: run one training step in memory and report settings that would silently train nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ..distillers.collection import Term
from ..errors import ConfigError
from ..hooks import DistillHook
from ..hooks.averages import slow_averages
from ..hooks.inheritance import sentences
from ..hooks.loop_epochs import is_iteration_loop
from ..hooks.observer import StepObserver, StepReport
from ..hooks.run_checks import schedules_of
from ..hooks.unlabelled import KEY as UNLABELLED
from ..hooks.unlabelled import PSEUDO
from ..runner.steps import distill_hook, drive
from ..utils.sample_batch import has_objects
from .alignment import gradients

BATCHES = 32
"""Number of batches in which one with an object is searched."""
ZERO_GRADIENT = 1e-12
ZERO_LOSS = 1e-6


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


@torch.no_grad()
def separate_teacher(hook: DistillHook, student: nn.Module, seed: int = 0) -> bool:
    """Add noise of 5 % to the weights of each teacher that is a copy of the student or not trained.

    At the first step an average of the student equals the student, so the gradient of every distance is 0. The boxes of
    untrained networks are alike, too, where their last layers start at 0.

    Args:
        hook: The hook with the teachers.
        student: The student.
        seed: Seed of the noise.

    Returns:
        Whether a teacher was a copy.
    """
    separated = [_separate(teacher, student, seed) for teacher in hook.teachers.values()]
    return any(separated)


def _separate(teacher: Any, student: nn.Module, seed: int) -> bool:
    weights, originals = list(teacher.model.parameters()), list(student.parameters())
    copied = [w.shape for w in weights] == [w.shape for w in originals] and all(map(torch.equal, weights, originals))
    if not copied and getattr(teacher, 'checkpoint', '') is not None:
        return False
    generator = torch.Generator().manual_seed(seed)
    for value in weights:
        noise = torch.randn(value.shape, generator=generator).to(value)
        scale = value.std() if value.numel() > 1 else value.abs().mean()
        value.add_(noise * (0.05 * scale + 1e-3))
    return copied


def _finite(losses: dict[str, Tensor]) -> list[str]:
    return [
        f"'{name}' is {float(value)} on the first batch; check the labels and the input normalisation"
        for name, value in losses.items()
        if not torch.isfinite(value)
    ]


def _loss_values(outputs: dict[str, Any]) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}
    for name, value in outputs.items():
        if 'loss' in name or name.startswith('task.'):
            entries = value if isinstance(value, (list, tuple)) else [value]
            values[name] = torch.stack([entry.mean() for entry in entries]).sum()
    return values


def forward_losses(runner: Any, index: int, batch: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run the forward pass of a training step with its hooks.

    Args:
        runner: A runner inside :func:`~kd_plugins.runner.steps.drive`.
        index: 0-based iteration.
        batch: A batch; it may be changed in place.

    Returns:
        All losses and, second, the task losses among them, each of shape () with its graph.
    """
    model = runner.model
    runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
    with runner.optim_wrapper.optim_context(model):
        losses = _loss_values(model(**model.data_preprocessor(batch, True), mode='loss'))
    return losses, {name: value for name, value in losses.items() if not name.startswith('distill.')}


def inheritance_rows(hook: DistillHook, result: Preflight) -> None:
    """Add what the student took from the teacher at its start, and which tensors did not fit.

    Args:
        hook: The hook.
        result: The report, to which a row of the teacher and remarks are added.
    """
    if hook.inheritance is None or hook.inheritance.report is None:
        return
    report, parts = hook.inheritance.report, ', '.join(hook.inheritance.parts)
    others = [*report.mismatched, *report.missing]
    rest = f', {len(others)} keep their own start' if others else ''
    result.teacher.append(('init_from_teacher', f'{len(report.loaded)} tensors of {parts} copied{rest}'))
    # The first sentence says how many were copied.
    result.remarks += sentences(report, hook.inheritance.parts, hook.inheritance.source)[1:]


def _teacher_rows(hook: DistillHook, result: Preflight) -> None:
    if not hook.teachers:
        result.teacher.append(('teacher', 'none: deeper layers of the student teach'))
    for teacher in hook.teachers.values():
        result.teacher.append((teacher.key, type(teacher).__name__))
        report = getattr(teacher, 'report', None)
        if report is None:
            result.teacher.append(('keys', f'{teacher.num_keys} copied from the student or initialised, no checkpoint'))
            continue
        result.teacher.append(('loaded', str(len(report.loaded))))
        for label, keys in (
            ('missing', report.missing),
            ('unexpected', report.unexpected),
            ('other shape', list(report.mismatched)),
        ):
            shown = ', '.join(keys[:3]) + (', ...' if len(keys) > 3 else '')
            result.teacher.append((label, f'{len(keys)}' + (f': {shown}' if keys else '')))
        not_loaded = [*report.missing, *report.mismatched]
        if not_loaded:
            result.problems.append(
                f'{teacher.key}.checkpoint: {len(not_loaded)} keys of the teacher stay at their random start '
                f"(first: '{not_loaded[0]}')"
            )


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
    result.problems += _finite({term.key: term.raw for term in report.terms})


def _step(runner: Any, losses: dict[str, Tensor], result: Preflight) -> None:
    parameters = [value for value in runner.model.parameters() if value.requires_grad]
    trained = [value for name, value in losses.items() if not name.startswith('task.')]
    runner.optim_wrapper.update_params(torch.stack(trained).sum())
    bad = [name for name, value in runner.model.named_parameters() if not torch.isfinite(value).all()]
    if bad:
        result.problems.append(
            f"{len(bad)} of {len(parameters)} parameters are not finite after one step (first: '{bad[0]}')"
        )


def batch_with_objects(runner: Any) -> tuple[Any, str | None]:
    """Return the first batch with an object, and a remark where it is not the first one.

    Losses of objects are 0 on background images, which is not a fault of the config.

    Args:
        runner: The runner.

    Raises:
        ConfigError: If the training loader gives no batch.
    """
    first, index = None, -1
    for index, batch in enumerate(islice(runner.train_dataloader, BATCHES)):
        if has_objects(batch):
            return batch, f'batch {index + 1} is the first one with an object and is looked at here' if index else None
        first = batch if first is None else first
    if first is None:
        raise ConfigError('train_dataloader gives no batch; check indices, filter_cfg, batch_size and drop_last')
    return first, f'the first {index + 1} batches of train_dataloader hold no object, so that losses of objects are 0'


def inspect(runner: Any, generated: bool = False) -> Preflight:
    """Run one training step in memory and return a report on it.

    Args:
        runner: A runner that is used for nothing else, with a temporary ``work_dir``.
        generated: Whether generated data are in the place of the data set, so that the length of an epoch says nothing.

    Raises:
        KDPluginsError: If DistillHook refuses the config.
    """
    result = Preflight()
    hook = distill_hook(runner)
    observer = StepObserver(runs_all=True)
    if hook is not None:
        hook.subscribe(observer)
    names = list(runner.model.state_dict())

    def body() -> None:
        model = runner.model
        if not generated or is_iteration_loop(runner):
            result.remarks.extend(slow_averages(runner))
        if hook is not None and separate_teacher(hook, model):
            result.remarks.append(
                'the teacher is a copy of the student at the first step; its weights were changed by 5 % here, '
                'so that there is something to learn'
            )
        batch, remark = batch_with_objects(runner)
        result.remarks += [remark] if remark else []
        losses, task = forward_losses(runner, 0, batch)
        result.task = {name: float(value.detach()) for name, value in task.items()}
        result.task_gradient = gradient_norm(
            torch.stack(list(task.values())).sum(), [value for value in model.parameters() if value.requires_grad]
        )
        result.problems += _finite(task)
        if hook is not None:
            inspect_terms(hook, observer.report, runner, result, has_objects(batch))
            _teacher_rows(hook, result)
            inheritance_rows(hook, result)
        if not result.problems:
            _step(runner, losses, result)

    drive(runner, body)
    if list(runner.model.state_dict()) != names:
        result.problems.append('the keys of the model changed: its checkpoint would not load into the plain config')
    return result
