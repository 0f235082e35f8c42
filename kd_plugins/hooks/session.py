"""Attach taps, teacher and distillers to a student for one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.dist import is_distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..distillers.base import BaseDistiller, Batch, Taps
from ..distillers.collection import DistillerCollection, RawLosses, Term
from ..taps import TapSet
from ..teachers.base import BaseTeacher
from ..utils.rng import forked_rng
from .observer import StepObserver, StepReport


def task_loss(losses: Mapping[str, Any]) -> Tensor:
    """Return the sum of a loss dict as MMEngine's ``parse_losses`` computes it, detached."""
    values = [value if isinstance(value, (list, tuple)) else [value] for key, value in losses.items() if 'loss' in key]
    tensors = [entry.detach().float().mean() for entries in values for entry in entries if isinstance(entry, Tensor)]
    return torch.stack(tensors).sum() if tensors else torch.zeros(())


def scale_task(losses: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """Return the task losses times ``weight``.

    With the weight 0 they are only logged: without gradient, under keys that ``parse_losses`` does not add.

    >>> scale_task({'loss_kpt': torch.tensor(2.0), 'acc_pose': torch.tensor(0.5)}, 0.0)
    {'task.kpt': tensor(2.), 'acc_pose': tensor(0.5000)}
    """
    scaled: dict[str, Any] = {}
    for key, value in losses.items():
        entries = value if isinstance(value, (list, tuple)) else [value]
        if 'loss' not in key or weight == 1.0:
            scaled[key] = value
        elif weight == 0.0:
            values = [entry.detach().mean() for entry in entries if isinstance(entry, Tensor)]
            if values:
                scaled[f'task.{key.replace("loss_", "").replace("loss", "all")}'] = torch.stack(values).sum()
        else:
            scaled[key] = [entry * weight for entry in entries] if isinstance(value, (list, tuple)) else value * weight
    return scaled


def as_float32(tensor: Tensor) -> Tensor:
    """Return half precision as float32, other dtypes unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class DistillSession:
    """Taps, teacher and distillers attached to one student.

    Args:
        student: The unwrapped student; it has forward hooks until :meth:`detach`.
        distillers: Name to distiller.
        teacher: The teacher, already prepared, or ``None``.
        on_initialized: Called once, after the first batch, when the adapters exist.
        observers: Receive the report of every step.

    Raises:
        ConfigError: If a path matches nothing or a distiller does not fit the networks.
    """

    def __init__(
        self,
        student: nn.Module,
        distillers: Mapping[str, BaseDistiller],
        teacher: BaseTeacher | None,
        on_initialized: Callable[[], None],
        observers: Sequence[StepObserver | Callable[[StepReport], None]] = (),
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.distillers = DistillerCollection(distillers)
        self.module: nn.Module = self.distillers
        self.initialized = False
        self.observers = list(observers)
        self.iteration = 0
        self.epoch = 0
        self.weights: dict[str, float] = dict.fromkeys(distillers, 0.0)
        self.task_weight = 1.0
        self.sync_gradients: Callable[[], bool] = lambda: True
        self._on_initialized = on_initialized
        self._recorded = False
        self._shapes: dict[str, dict[str, list[tuple[int, ...]]]] = {}
        for name, distiller in self.distillers.items():
            distiller.check_models(student, teacher.model if self.uses_teacher(name) and teacher else student)
        self.student_taps, self.teacher_taps = self._make_taps()
        self._handles = [
            student.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            student.register_forward_hook(self._after_forward, with_kwargs=True),
        ]

    def uses_teacher(self, name: str) -> bool:
        """Return whether a distiller learns from the teacher, and not from the student itself."""
        source = dict(self.distillers.items())[name].source
        return source == 'teacher' or (source == 'auto' and self.teacher is not None)

    def _make_taps(self) -> tuple[TapSet, TapSet | None]:
        student_paths: dict[str, str] = {}
        teacher_paths: dict[str, str] = {}
        for name, distiller in self.distillers.items():
            key = f'distillers.{name}'
            student_paths.update({f'{key}.{alias}': path for alias, path in distiller.student_taps().items()})
            paths = {f'{key}.{alias} (teacher)': path for alias, path in distiller.teacher_taps().items()}
            (teacher_paths if self.uses_teacher(name) else student_paths).update(paths)
        teacher_taps = TapSet(self.teacher.model, teacher_paths, 'teacher') if self.teacher else None
        return TapSet(self.student, student_paths, 'student'), teacher_taps

    def active(self) -> list[str]:
        """Return the names of the distillers that run in this iteration."""
        if any(isinstance(observer, StepObserver) and observer.runs_all for observer in self.observers):
            return list(self.weights)
        ready = self.teacher is None or self.teacher.ready
        return [name for name, weight in self.weights.items() if weight > 0 and (ready or not self.uses_teacher(name))]

    def _before_forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        needed = not self.initialized or bool(self.active())
        self._recorded = _mode(args, kwargs) == 'loss' and module.training and needed
        if self._recorded:
            if self.teacher is not None and self.teacher.after_student:
                self.teacher.before_student()
            else:
                # The teacher runs first: its temporary tensors are freed before the student's activations are stored.
                self._run_teacher(args, kwargs)
            self.student_taps.start()

    def _after_forward(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        self.student_taps.stop()
        if _mode(args, kwargs) != 'loss' or not module.training or not isinstance(output, dict):
            return None
        call = {**dict(zip(('inputs', 'data_samples'), args)), **kwargs}
        batch = Batch(call.get('inputs'), call.get('data_samples'), self.iteration, self.epoch)
        task = task_loss(output)
        self._shapes = {}
        if self._recorded:
            if self.teacher is not None and self.teacher.after_student:
                self._run_teacher(args, kwargs)
            losses = self._distill(batch, task)
        else:
            losses = self.distillers.zeros(task.device)
        terms = [Term(name, loss, raw, self.weights[name]) for (name, loss), raw in losses.items()]
        report = StepReport(terms, task, batch, self._shapes.get('student', {}), self._shapes.get('teacher', {}))
        for observer in self.observers:
            observer(report)
        return {**scale_task(output, self.task_weight), **{term.key: term.weighted for term in terms}}

    def _run_teacher(self, args: Any, kwargs: Any) -> None:
        needed = not self.initialized or any(self.uses_teacher(name) for name in self.active())
        if self.teacher is not None and self.teacher_taps is not None and needed:
            self.teacher_taps.start()
            # A teacher in eval mode draws no random numbers. The first batch, which runs with any weights, ensures it.
            with nullcontext() if self.initialized else forked_rng():
                self.teacher.run(args, kwargs)
            self.teacher_taps.stop()

    def _distill(self, batch: Batch, task: Tensor) -> RawLosses:
        active = self.active()
        with torch.autocast(_device_type(self.student), enabled=False):
            student_outputs, teacher_outputs = self._read(active if self.initialized else list(self.weights))
            if not self.initialized:
                self._initialize(student_outputs, teacher_outputs)
            if isinstance(self.module, DistributedDataParallel):
                # Under gradient accumulation the wrapper of the student skips the reduction, and this one must as well.
                self.module.require_backward_grad_sync = self.sync_gradients()
            if active:
                losses: RawLosses = self.module(student_outputs, teacher_outputs, batch, active)
            else:
                losses = self.distillers.zeros(task.device)
        for taps in self.all_taps():
            self._shapes[taps.role] = taps.shapes()
            taps.clear()
        return losses

    def all_taps(self) -> list[TapSet]:
        """Return the taps of the student and, where there is one, of the teacher."""
        return [self.student_taps, *([self.teacher_taps] if self.teacher_taps is not None else [])]

    def _read(self, names: list[str]) -> tuple[dict[str, Taps], dict[str, Taps]]:
        student_outputs: dict[str, Taps] = {}
        teacher_outputs: dict[str, Taps] = {}
        for name, distiller in self.distillers.items():
            if name not in names:
                continue
            student_outputs[name] = {
                alias: [as_float32(tensor) for tensor in self.student_taps.read(path)]
                for alias, path in distiller.student_taps().items()
            }
            taps = self.teacher_taps if self.uses_teacher(name) and self.teacher_taps is not None else self.student_taps
            teacher_outputs[name] = {
                alias: [as_float32(tensor.detach()) for tensor in taps.read(path)]
                for alias, path in distiller.teacher_taps().items()
            }
        return student_outputs, teacher_outputs

    def _initialize(self, student_outputs: dict[str, Taps], teacher_outputs: dict[str, Taps]) -> None:
        with forked_rng():
            for name, distiller in self.distillers.items():
                distiller.initialize(student_outputs[name], teacher_outputs[name])
            self.distillers.to(next(self.student.parameters()).device)
            has_params = any(param.requires_grad for param in self.distillers.parameters())
            if has_params and is_distributed():
                self.module = DistributedDataParallel(self.distillers, broadcast_buffers=False)
        self.initialized = True
        self._on_initialized()

    def detach(self) -> None:
        """Remove every hook from the student."""
        if self.teacher is not None:
            self.teacher.forget()
        for handle in self._handles:
            handle.remove()
        for taps in self.all_taps():
            taps.remove()


def _mode(args: Any, kwargs: Any) -> str:
    return str(kwargs.get('mode', args[2] if len(args) > 2 else 'tensor'))


def _device_type(model: nn.Module) -> str:
    return next(model.parameters()).device.type
