"""Attach taps, teacher and distillers to a student for one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.dist import is_distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..distillers.base import BaseDistiller, Batch, Taps
from ..distillers.collection import DistillerCollection, RawLosses, Term
from ..teachers.base import BaseTeacher
from ..utils.calls import ForwardCall
from ..utils.device import device_of, full_precision
from ..utils.loss_dicts import loss_sum
from ..utils.rng import forked_rng, position_seed, seeded_rng
from ..utils.sample_fields import Fields, fields_of, restore_fields
from .assignment import Assignment
from .compiled import forget_compiled, uncompiled
from .gradient_shares import GradientShares, check_copies
from .liveness import Liveness
from .network_taps import NetworkTaps, Shapes
from .observer import Observer, StepReport, is_dry_run
from .optimizer import Learning
from .queries import Queries
from .recomputation import check_recomputation
from .second_pass import pass_context, predictions, pseudo_terms, second_pass
from .shuffled_teachers import ShuffledTeachers
from .student_view import StudentView
from .task_losses import UNTAUGHT, scale_task, task_loss
from .task_weights import TaskWeights
from .unlabelled import Unlabelled

Outputs = tuple[dict[str, Taps], dict[str, Taps]]
"""Name of each distiller to the outputs of its taps on the student, and to those on its teacher."""


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
        unlabelled: Unlabelled images, over which the student has a second pass in the same training step; or ``None``.
        view: Changes the images that the student sees; or ``None``.

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
        unlabelled: Unlabelled | None = None,
        view: StudentView | None = None,
    ) -> None:
        self.student = student
        self.teachers = dict(teachers)
        self.distillers = DistillerCollection(distillers)
        self.unlabelled = unlabelled
        self.view = view
        self.labeller = None if unlabelled is None else unlabelled.pseudo_teacher(self.teachers)
        """Name of the teacher that predicts pseudo labels."""
        self.assignment = Assignment(distillers, self.teachers)
        self.shuffled = ShuffledTeachers(self.teachers)
        self.sources = self.assignment.sources
        """Name of each distiller to that of its teacher, ``None`` where the student teaches itself."""
        self.module: nn.Module = self.distillers
        self.initialized = False
        self.observers = list(observers)
        self.iteration = self.epoch = self.seed = 0
        self.iterations = 0
        """Number of iterations of the run, 0 where it is unknown."""
        self.weights: dict[str, float] = dict.fromkeys(distillers, 0.0)
        self.task_weights = TaskWeights(1.0)
        self.sync_gradients: Callable[[], bool] = lambda: True
        self._on_initialized = on_initialized
        self._dry = False
        self._outputs: Outputs | None = None if distillers else ({}, {})
        self._running: list[str] = []
        self._calls: list[bool] = []
        self.learning = Learning(distillers)
        self._clean: tuple[Any, Any, Fields] = ((), {}, [])
        self._unchecked = {distiller.on for distiller in distillers.values()}
        self.passes = 0
        self.liveness = Liveness(student, distillers)
        self.shares = GradientShares(distillers)
        self._shapes: Shapes = {}
        for name, distiller in self.distillers.items():
            for model in self.assignment.models(name, student):
                distiller.check_models(student, model)
        check_copies(distillers)
        self.queries = Queries(distillers, self.teachers, self.sources, view)
        self.taps = NetworkTaps(student, self.teachers, distillers, self.assignment.all)
        forget_compiled()
        # An exception inside the forward pass must not leave its call open, hence always_call.
        self._handles = [
            student.register_forward_pre_hook(uncompiled(self._before_forward), with_kwargs=True),
            student.register_forward_hook(uncompiled(self._after_forward), with_kwargs=True, always_call=True),
        ]

    @property
    def runs_all(self) -> bool:
        """Whether an observer makes every distiller run, as commands that inspect a run do."""
        return is_dry_run(self.observers)

    def active(self) -> list[str]:
        """Return the names of the distillers that run in this iteration."""
        if self.runs_all:
            return list(self.weights)
        return [name for name, weight in self.weights.items() if weight > 0 and self.assignment.is_ready(name)]

    @property
    def _step(self) -> tuple[int, int, int, int]:
        """Iteration and epoch, seed and length of the run, as a :class:`Batch` holds them."""
        # An inspection looks at the full effect of a distiller, not at that of the first iteration.
        return self.iteration, self.epoch, self.seed, 0 if self.runs_all else self.iterations

    @property
    def wants_unlabelled(self) -> bool:
        """Whether the student has a pass over unlabelled images in this iteration."""
        if self.unlabelled is None:
            return False
        if self.runs_all or (not self.initialized and self.unlabelled.used):
            return True
        return self.unlabelled.weight > 0 and (bool(self._on('unlabelled', self.active())) or self._labels)

    @property
    def _labels(self) -> bool:
        """Whether losses on pseudo labels count in this iteration."""
        if self.unlabelled is None or self.labeller is None:
            return False
        return self.unlabelled.weight > 0 and self.teachers[self.labeller].ready

    def _on(self, images: str, names: Sequence[str] | None = None) -> list[str]:
        """Return which distillers, by default those that run, teach on these images."""
        names = self._running if names is None else names
        return [name for name, distiller in self.distillers.items() if distiller.on == images and name in names]

    def _before_forward(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        # A model may call itself inside its loss, so only the outermost call with mode='loss' counts.
        call = ForwardCall(module.forward, args, kwargs)
        is_loss = call.mode == 'loss' and module.training and not any(self._calls)
        self._calls.append(is_loss)
        if not is_loss:
            return None
        second = self.unlabelled is not None and self.unlabelled.batch is not None
        names = self.active() if self.initialized else list(self.weights)
        self._running = names if second else self._on('labelled', names)
        if self.initialized:
            alone = self.shuffled.without_another_image(self.assignment.all, call)
            self._running = [name for name in self._running if name not in alone or name not in self._on('labelled')]
        self._clean = (args, kwargs, fields_of(call.data_samples))
        for name in self.assignment.needed(self._on('labelled')):
            if self.teachers[name].after_student:
                self.teachers[name].before_student()
        # The others run first: their temporary tensors are freed before the student's activations are stored.
        self._run_teachers('labelled', args, kwargs, after_student=False)
        if self._on('labelled') or 'labelled' in self._unchecked:
            self.taps.student.start()
        if self.view is None or not self.view.changes('labelled'):
            return None
        return (), call.arguments(inputs=self.view.inputs(call, self.iteration, 'labelled'))

    def _after_forward(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        if not self._calls or not self._calls.pop():
            return None
        self.taps.student.stop()
        (seen, named, fields), self._clean = self._clean, ((), {}, [])
        restore_fields(fields)
        if not isinstance(output, dict):
            return None
        self._run_teachers('labelled', seen, named, after_student=True)
        self._shapes = {}
        measured = self._measured()
        outputs = self._read('labelled')
        unlabelled, pseudo = self._second_pass(outputs)
        if self._dry:
            self._outputs = outputs
            return None
        self.passes += 1
        if self.passes == 1 and torch.is_grad_enabled():
            two_passes = self.unlabelled is not None and self.unlabelled.used
            check_recomputation(output, two_passes, self.taps.student_parameters())
        call = ForwardCall(module.forward, args, kwargs)
        batch = Batch(call.inputs, call.data_samples, *self._step)
        task = task_loss(output)
        if self._running or not self.initialized:
            losses = self._distill(outputs, batch, unlabelled)
        else:
            losses = self.distillers.zeros(task.device)
        self.learning.add(self._running)
        on = {name: distiller.on for name, distiller in self.distillers.items()}
        terms = [Term(name, loss, raw, self.weights[name], on[name]) for (name, loss), raw in losses.items()]
        if not self.liveness.proven and not self.runs_all and torch.is_grad_enabled():
            self.liveness.check_terms([term for term in terms if term.distiller in self._running])
        if self.unlabelled is not None and self.labeller is not None:
            terms += pseudo_terms(output, pseudo, self.unlabelled.weight if self._labels else 0.0)
        self.task_weights.check_keys(output)
        scaled = scale_task(output, self.task_weights)
        if measured:
            self.shares.measure(loss_sum(scaled), terms, measured)
        teachers = {name: shapes for name, shapes in self._shapes.items() if name is not None}
        report = StepReport(terms, task, batch, self._shapes.get(None, {}), teachers, unlabelled, scaled.get(UNTAUGHT))
        for observer in self.observers:
            observer(report)
        return {**scaled, **{term.key: term.weighted for term in terms}}

    def _measured(self) -> dict[str, list[Tensor]]:
        """Return the tapped tensors of the distillers whose share of the gradient is measured in this iteration."""
        if self._dry or self.runs_all or not torch.is_grad_enabled():
            return {}
        return self.taps.student_tensors(self.shares.due(self.iteration, self._running))

    def _run_teachers(self, images: str, args: Any, kwargs: Any, after_student: bool | None = None) -> None:
        """Run the needed teachers; ``after_student`` selects those of one kind."""
        names = self._on(images)
        for name in self.assignment.needed(names):
            teacher, taps = self.teachers[name], self.taps.teachers[name]
            if after_student is not None and teacher.after_student != after_student:
                continue
            seen = args, kwargs
            if teacher.shuffled:
                call = ForwardCall(self.student.forward, args, kwargs)
                seen = (), self.shuffled.arguments(name, images, call, self._step)
            # A teacher in eval mode draws no random numbers. The first batch, which runs with any weights, ensures it.
            with nullcontext() if self.initialized else forked_rng():
                if self.queries.wants(name, names):
                    self.queries.run(name, images, *seen, taps)
                else:
                    teacher.run(*seen, taps)

    def _second_pass(self, outputs: Outputs) -> tuple[Batch | None, Mapping[str, Any] | None]:
        """Run the pass over unlabelled images, if there is one, and add what its taps recorded to the outputs.

        Returns:
            The batch that the student saw, and its losses on pseudo labels.
        """
        if self.unlabelled is None or self.unlabelled.batch is None:
            return None, None
        # The only purpose of a pass before the weight rises is to show the shapes.
        shapes_only = self._dry or (self.unlabelled.weight == 0 and not self.runs_all)
        counts = not shapes_only and (self._labels or self.runs_all)
        with pass_context(self.student, self.unlabelled, shapes_only, counts):
            batch, losses = second_pass(
                self.student,
                self._call_student,
                self.unlabelled,
                self.view,
                lambda call: self._run_teachers('unlabelled', (), call.arguments()),
                None if self.labeller is None else self._predict,
                self.taps.student,
                self._step,
            )
            student_outputs, teacher_outputs = self._read('unlabelled')
            outputs[0].update(student_outputs)
            outputs[1].update(self._targets(teacher_outputs, batch))
        return batch, losses if counts else None

    def _targets(self, outputs: dict[str, Taps], batch: Batch) -> dict[str, Taps]:
        """Return what the student's outputs on unlabelled images are compared with, which a view may mix."""
        targets = dict(outputs)
        for name, distiller in self.distillers.items():
            # A deeper layer of the student, which is no teacher, has seen the view itself.
            if self.view is not None and name in outputs and self.sources[name] is not None:
                targets[name] = self.view.targets(outputs[name], batch, distiller)
        return targets

    def _predict(self, call: ForwardCall) -> list[Any]:
        """Return what the teacher of the pseudo labels predicts for a call of the student."""
        name = str(self.labeller)
        seen = self.shuffled.arguments(name, 'unlabelled', call, self._step, samples=False)
        return predictions(self.teachers[name].model, ForwardCall(self.student.forward, (), seen))

    def _call_student(self, **arguments: Any) -> Any:
        """Call the student without distillation, inside its own forward pass."""
        with self.silent():
            return self.student(**arguments)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Let the hooks on the student do nothing when it is called inside its own forward pass."""
        self._calls.append(True)
        try:
            yield
        finally:
            self._calls.pop()

    def _distill(self, outputs: Outputs, batch: Batch, unlabelled: Batch | None) -> RawLosses:
        if not self.initialized:
            self._outputs = outputs
            with full_precision(self.student):
                self.create_adapters()
            self._running = self._on('labelled', self.active())
            self._running += [] if unlabelled is None else self._on('unlabelled', self.active())
        student_outputs, teacher_outputs = (
            {name: taps for name, taps in side.items() if name in self._running} for side in outputs
        )
        self.liveness.check_counts('student', student_outputs)
        self.liveness.check_counts('teacher', teacher_outputs)
        # Both networks answer under the student's autocast, as they run in their own pass.
        batches = {'labelled': batch, 'unlabelled': batch if unlabelled is None else unlabelled}
        teacher_outputs = self.queries.answered(student_outputs, teacher_outputs, batches)
        with self.silent():
            student_outputs = self.queries.answered_by_student(self.student, student_outputs, teacher_outputs, batches)
        if isinstance(self.module, DistributedDataParallel):
            # Under gradient accumulation the wrapper of the student skips the reduction, and this one must as well.
            self.module.require_backward_grad_sync = self.sync_gradients()
        if not self._running:
            return self.distillers.zeros(device_of(self.student))
        with full_precision(self.student):
            losses: RawLosses = self.module(student_outputs, teacher_outputs, batch, self._running, unlabelled)
        return losses

    def _read(self, images: str) -> Outputs:
        """Return what the taps of the running distillers on these images recorded, and drop it from the taps."""
        names, checked = self._on(images), self._on(images)
        checks = images in self._unchecked and not self._dry and not self.runs_all and torch.is_grad_enabled()
        if checks:
            checked = self._on(images, list(self.weights))
            self._unchecked.discard(images)
        if not checked:
            return {}, {}
        student_outputs = self.taps.read_student(checked)
        if checks:
            self.liveness.check_taps(student_outputs)
        outputs = {name: student_outputs[name] for name in names}, self.taps.read_teachers(names)
        for source, recorded in self.taps.shapes().items():
            earlier = {path: shapes for path, shapes in self._shapes.get(source, {}).items() if shapes}
            self._shapes[source] = {**recorded, **earlier}
        self.taps.clear()
        return outputs

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
                # Without outputs are those on unlabelled images in a run that uses none, as their weight is 0.
                if name in student_outputs:
                    # The other distillers of a run do not change the start of this one.
                    with seeded_rng(position_seed(self.seed, 'adapters', name)):
                        distiller.initialize(student_outputs[name], teacher_outputs[name])
            self.distillers.to(device_of(self.student))
            if is_distributed() and any(param.requires_grad for param in self.distillers.parameters()):
                self.module = DistributedDataParallel(self.distillers, broadcast_buffers=False)
        self.liveness.check_counts('student', student_outputs)
        self.liveness.check_counts('teacher', teacher_outputs)
        self.initialized = True
        self._on_initialized()

    def _clear(self) -> None:
        """Drop everything that is kept from a forward pass."""
        for teacher in self.teachers.values():
            teacher.forget()
        self.queries.clear()
        self.taps.clear()

    def detach(self) -> None:
        """Remove every hook from the student."""
        self._clear()
        for handle in self._handles:
            handle.remove()
        self.taps.remove()
        forget_compiled()
