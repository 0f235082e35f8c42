"""Preflight: run one training step in memory and report settings that would silently train nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ..config.distillers import KEY as DISTILLERS
from ..errors import ConfigError
from ..hooks import DistillHook
from ..hooks.averages import slow_averages
from ..hooks.inheritance import sentences
from ..hooks.loop_epochs import is_iteration_loop
from ..hooks.observer import StepObserver
from ..runner.steps import distill_hook, drive
from ..utils.data_errors import NO_BATCH
from ..utils.sample_batch import has_objects
from .preflight_terms import Preflight, dominant_terms, gradient_norm, inspect_terms, not_finite

BATCHES = 32
"""Number of batches in which one with an object is searched."""


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
    if not hook.distillers and hook.unlabelled is None:
        result.teacher.append(('teacher', 'none: no distiller is switched on'))
        result.remarks.append(f'{DISTILLERS} switches no distiller on, so that the labels alone teach')
    elif not hook.teachers:
        result.teacher.append(('teacher', 'none: labels, or deeper layers of the student, teach'))
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


@contextmanager
def watched_gradients(model: nn.Module) -> Iterator[list[str]]:
    """Collect the names of the trainable parameters that get no gradient in the backward passes of the context.

    Args:
        model: The student.

    Yields:
        The names, complete after the context.
    """
    idle: list[str] = []
    trained: set[str] = set()
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}

    def note(name: str) -> Callable[[Tensor], None]:
        return lambda parameter: trained.add(name)

    handles = [value.register_post_accumulate_grad_hook(note(name)) for name, value in parameters.items()]
    try:
        yield idle
    finally:
        for handle in handles:
            handle.remove()
    idle += [name for name in parameters if name not in trained]


def untrained(idle: Sequence[str], config: Mapping[str, Any], result: Preflight) -> None:
    """Add what there is to say about parameters without a gradient.

    Args:
        idle: Their names.
        config: The training config.
        result: The report.
    """
    names = config.get('activation_checkpointing') or []
    names = [names] if isinstance(names, str) else list(names)
    inside = [one for one in idle if any(one.startswith(f'{name}.') for name in names)]
    if inside:
        result.problems.append(
            f'activation_checkpointing is {names}, and {len(inside)} parameters in it get no gradient (first: '
            f"'{inside[0]}'): PyTorch trains a module that is run again only where it is called with a tensor "
            'with a gradient; nearest: with_cp=True in the model, or later modules'
        )
    elif idle and not config.get('find_unused_parameters'):
        result.remarks.append(
            f"{len(idle)} trainable parameters got no gradient in this step (first: '{idle[0]}'); training on several "
            'processes stops at them unless the config has find_unused_parameters=True'
        )


def _step(runner: Any, losses: dict[str, Tensor], result: Preflight) -> None:
    parameters = [value for value in runner.model.parameters() if value.requires_grad]
    trained = [value for name, value in losses.items() if not name.startswith('task.')]
    with watched_gradients(runner.model) as idle:
        runner.optim_wrapper.update_params(torch.stack(trained).sum())
    untrained(idle, runner.cfg, result)
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
        raise ConfigError(NO_BATCH)
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
        result.problems += not_finite(task)
        if hook is not None:
            inspect_terms(hook, observer.report, runner, result, has_objects(batch))
            result.remarks += [] if generated else dominant_terms(result)
            _teacher_rows(hook, result)
            inheritance_rows(hook, result)
        if not result.problems:
            _step(runner, losses, result)

    drive(runner, body)
    if list(runner.model.state_dict()) != names:
        result.problems.append('the keys of the model changed: its checkpoint would not load into the plain config')
    return result
