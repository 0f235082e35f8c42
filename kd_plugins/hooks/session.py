"""Attach taps, teacher and distillers to a student for one run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from mmengine.dist import is_distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..distillers.base import BaseDistiller, Batch, Taps
from ..distillers.collection import DistillerCollection, RawLosses, Term
from ..errors import ConfigError
from ..taps import TapSet
from ..teachers.base import BaseTeacher
from ..teachers.collection import resolve_source
from ..utils.calls import ForwardCall
from ..utils.rng import forked_rng
from .liveness import Liveness
from .observer import Observer, StepReport, is_dry_run
from .task_losses import scale_task, task_loss


def as_float32(tensor: Tensor) -> Tensor:
    """Return half precision as float32, other dtypes unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class DistillSession:
    """Taps, teacher and distillers attached to one student.

    Before training, :meth:`create_adapters` makes the adapters from a pass inside :meth:`recording`. A session without
    such a pass makes them in the first forward pass of the student.

    Args:
        student: The unwrapped student; it has forward hooks until :meth:`detach`.
        distillers: Name to distiller.
        teachers: Name to teacher, already prepared; empty where deeper layers of the student teach.
        on_initialized: Called once, when the adapters exist.
        observers: Receive the report of every step.

    Raises:
        ConfigError: If a path matches nothing or a distiller does not fit the networks.
    """

    def __init__(
        self,
        student: nn.Module,
        distillers: Mapping[str, BaseDistiller],
        teachers: Mapping[str, BaseTeacher],
        on_initialized: Callable[[], None],
        observers: Sequence[Observer] = (),
    ) -> None:
        self.student = student
        self.teachers = dict(teachers)
        self.distillers = DistillerCollection(distillers)
        self.sources = {
            name: resolve_source(distiller.source, distiller.key, self.teachers)
            for name, distiller in distillers.items()
        }
        """Name of each distiller to that of its teacher, ``None`` where the student teaches itself."""
        self.module: nn.Module = self.distillers
        self.initialized = False
        self.observers = list(observers)
        self.iteration = 0
        self.epoch = 0
        self.weights: dict[str, float] = dict.fromkeys(distillers, 0.0)
        self.task_weight = 1.0
        self.sync_gradients: Callable[[], bool] = lambda: True
        self._on_initialized = on_initialized
        self._dry = False
        self._outputs: tuple[dict[str, Taps], dict[str, Taps]] | None = None if distillers else ({}, {})
        self._running: list[str] = []
        self._calls: list[bool] = []
        self.passes = 0
        self.liveness = Liveness(student, distillers)
        self._shapes: dict[str | None, dict[str, list[tuple[int, ...]]]] = {}
        for name, distiller in self.distillers.items():
            distiller.check_models(student, self._teaching_model(name))
        self.student_taps, self.teacher_taps = self._make_taps()
        forget_compiled()
        # An exception inside the forward pass must not leave its call open, hence always_call.
        self._handles = [
            student.register_forward_pre_hook(uncompiled(self._before_forward), with_kwargs=True),
            student.register_forward_hook(uncompiled(self._after_forward), with_kwargs=True, always_call=True),
        ]

    def _teaching_model(self, name: str) -> nn.Module:
        source = self.sources[name]
        return self.student if source is None else self.teachers[source].model

    def _make_taps(self) -> tuple[TapSet, dict[str, TapSet]]:
        paths: dict[str | None, dict[str, str]] = {source: {} for source in (None, *self.teachers)}
        for name, distiller in self.distillers.items():
            key = f'distillers.{name}'
            paths[None].update({f'{key}.{alias}': path for alias, path in distiller.student_taps().items()})
            teacher_paths = {f'{key}.{alias} (teacher)': path for alias, path in distiller.teacher_taps().items()}
            paths[self.sources[name]].update(teacher_paths)
        taps: dict[str, TapSet] = {}
        try:
            for name, teacher in self.teachers.items():
                role = 'teacher' if len(self.teachers) == 1 else f"teacher '{name}'"
                taps[name] = TapSet(teacher.model, paths[name], role)
            return TapSet(self.student, paths[None], 'student'), taps
        except ConfigError:
            for tap_set in taps.values():
                tap_set.remove()
            raise

    @property
    def runs_all(self) -> bool:
        """Whether an observer makes every distiller run, as commands that inspect a run do."""
        return is_dry_run(self.observers)

    def active(self) -> list[str]:
        """Return the names of the distillers that run in this iteration."""
        if self.runs_all:
            return list(self.weights)
        return [name for name, weight in self.weights.items() if weight > 0 and self._is_taught(name)]

    def _is_taught(self, name: str) -> bool:
        """Return whether a distiller's teacher is ready; the student itself always is."""
        source = self.sources[name]
        return source is None or self.teachers[source].ready

    def _before_forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        # A model may call itself inside its loss, so only the outermost call with mode='loss' counts.
        mode = ForwardCall(module.forward, args, kwargs).mode
        is_loss = mode == 'loss' and module.training and not any(self._calls)
        self._calls.append(is_loss)
        if not is_loss:
            return
        self._running = self.active() if self.initialized else list(self.weights)
        for name in self._needed_teachers():
            if self.teachers[name].after_student:
                self.teachers[name].before_student()
        # The others run first: their temporary tensors are freed before the student's activations are stored.
        self._run_teachers(args, kwargs, after_student=False)
        if self._running or not self.liveness.taps_checked:
            self.student_taps.start()

    def _after_forward(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if not self._calls or not self._calls.pop():
            return None
        self.student_taps.stop()
        if not isinstance(output, dict):
            return None
        self._run_teachers(args, kwargs, after_student=True)
        if self._dry:
            self._outputs = self._read_student(self._running), self._read_teachers(self._running)
            return None
        self.passes += 1
        call = ForwardCall(module.forward, args, kwargs)
        batch = Batch(call.inputs, call.data_samples, self.iteration, self.epoch)
        task = task_loss(output)
        self._shapes = {}
        if self._running or not self.liveness.taps_checked:
            losses = self._distill(batch, task)
        else:
            losses = self.distillers.zeros(task.device)
        terms = [Term(name, loss, raw, self.weights[name]) for (name, loss), raw in losses.items()]
        if not self.liveness.proven and not self.runs_all and torch.is_grad_enabled():
            self.liveness.check_terms([term for term in terms if term.distiller in self._running])
        student_shapes = self._shapes.pop(None, {})
        teacher_shapes = {name: shapes for name, shapes in self._shapes.items() if name is not None}
        report = StepReport(terms, task, batch, student_shapes, teacher_shapes)
        for observer in self.observers:
            observer(report)
        return {**scale_task(output, self.task_weight), **{term.key: term.weighted for term in terms}}

    def _needed_teachers(self) -> list[str]:
        """Return the teachers of the distillers that run in this pass; all run in the pass that makes the adapters."""
        sources = {self.sources[name] for name in self._running}
        return [name for name in self.teachers if name in sources]

    def _run_teachers(self, args: Any, kwargs: Any, after_student: bool) -> None:
        for name in self._needed_teachers():
            teacher, taps = self.teachers[name], self.teacher_taps[name]
            if teacher.after_student != after_student:
                continue
            # A teacher in eval mode draws no random numbers. The first batch, which runs with any weights, ensures it.
            with nullcontext() if self.initialized else forked_rng():
                teacher.run(args, kwargs, taps)

    def _distill(self, batch: Batch, task: Tensor) -> RawLosses:
        with torch.autocast(_device_type(self.student), enabled=False):
            if not self.liveness.taps_checked and not self.runs_all and torch.is_grad_enabled():
                self.liveness.check_taps(self._read_student(list(self.weights)))
            if not self.initialized:
                self._outputs = self._read_student(self._running), self._read_teachers(self._running)
                self.create_adapters()
                self._running = self.active()
            active = self._running
            student_outputs, teacher_outputs = self._read_student(active), self._read_teachers(active)
            self.liveness.check_counts('student', student_outputs)
            self.liveness.check_counts('teacher', teacher_outputs)
            if isinstance(self.module, DistributedDataParallel):
                # Under gradient accumulation the wrapper of the student skips the reduction, and this one must as well.
                self.module.require_backward_grad_sync = self.sync_gradients()
            if active:
                losses: RawLosses = self.module(student_outputs, teacher_outputs, batch, active)
            else:
                losses = self.distillers.zeros(task.device)
        for source, taps in self._all_taps().items():
            self._shapes[source] = taps.shapes()
            taps.clear()
        return losses

    def _all_taps(self) -> dict[str | None, TapSet]:
        """Return the taps of each teacher by its name, and those of the student under ``None``."""
        taps: dict[str | None, TapSet] = {None: self.student_taps}
        taps.update(self.teacher_taps)
        return taps

    def _read_student(self, names: list[str]) -> dict[str, Taps]:
        """Return the outputs of the student's taps of some distillers."""
        return {
            name: {
                alias: [as_float32(tensor) for tensor in self.student_taps.read(path)]
                for alias, path in distiller.student_taps().items()
            }
            for name, distiller in self.distillers.items()
            if name in names
        }

    def _read_teachers(self, names: list[str]) -> dict[str, Taps]:
        """Return the outputs of the taps on the teachers of some distillers, without gradient."""
        taps = self._all_taps()
        return {
            name: {
                alias: [as_float32(tensor.detach()) for tensor in taps[self.sources[name]].read(path)]
                for alias, path in distiller.teacher_taps().items()
            }
            for name, distiller in self.distillers.items()
            if name in names
        }

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep the outputs of the taps of one forward pass for :meth:`create_adapters`, and add no loss to it."""
        self._dry = True
        try:
            yield
        finally:
            self._dry = False
            self._clear()

    @property
    def recorded(self) -> bool:
        """Whether the shapes of all distillers are known."""
        return self._outputs is not None

    def create_adapters(self) -> None:
        """Check the shapes of the recorded pass and make the adapters.

        Raises:
            ConfigError: If the shapes do not fit together.
        """
        assert self._outputs is not None
        (student_outputs, teacher_outputs), self._outputs = self._outputs, None
        with forked_rng():
            for name, distiller in self.distillers.items():
                distiller.initialize(student_outputs[name], teacher_outputs[name])
            self.distillers.to(next(self.student.parameters()).device)
            has_params = any(param.requires_grad for param in self.distillers.parameters())
            if has_params and is_distributed():
                self.module = DistributedDataParallel(self.distillers, broadcast_buffers=False)
        self.liveness.check_counts('student', student_outputs)
        self.liveness.check_counts('teacher', teacher_outputs)
        self.initialized = True
        self._on_initialized()

    def _clear(self) -> None:
        """Drop everything that is kept from a forward pass."""
        for teacher in self.teachers.values():
            teacher.forget()
        for taps in self._all_taps().values():
            taps.stop()
            taps.clear()

    def detach(self) -> None:
        """Remove every hook from the student."""
        self._clear()
        for handle in self._handles:
            handle.remove()
        for taps in self._all_taps().values():
            taps.remove()
        forget_compiled()


def forget_compiled() -> None:
    """Drop what ``torch.compile`` has compiled, because it does not notice new hooks of a module."""
    compiler = sys.modules.get('torch._dynamo')
    if compiler is not None:
        compiler.reset()


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that ``torch.compile`` runs as it is, where something in this process is compiled.

    Importing the compiler takes seconds, so it is not imported here.
    """
    compiler = sys.modules.get('torch._dynamo')
    return function if compiler is None else cast(Callable[..., Any], compiler.disable(function))


def _device_type(model: nn.Module) -> str:
    return next(model.parameters()).device.type
