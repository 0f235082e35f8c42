"""What stands between a student's forward call and its loss dict, for one training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.dist import is_distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..distillers.base import BaseDistiller, Batch, Taps
from ..distillers.collection import DistillerSet
from ..taps import TapSet
from ..teachers.base import BaseTeacher
from ..utils.rng import forked_rng


def task_loss(losses: Mapping[str, Any]) -> Tensor:
    """Return the sum that MMEngine's ``parse_losses`` takes of a loss dict, detached."""
    values = [value if isinstance(value, (list, tuple)) else [value] for key, value in losses.items() if 'loss' in key]
    tensors = [entry.detach().float().mean() for entries in values for entry in entries if isinstance(entry, Tensor)]
    return torch.stack(tensors).sum() if tensors else torch.zeros(())


def scale_task(losses: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """Return the task's own losses times ``weight``.

    At 0 they only inform: without gradient, under keys that MMEngine's ``parse_losses`` does not add up.

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
    """Return half precision as float32, anything else unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class DistillSession:
    """Taps, teacher and distillers attached to one student.

    Args:
        student: The unwrapped student; gets forward hooks until :meth:`detach`.
        distillers: Name to distiller.
        teacher: The teacher, already prepared, or ``None``.
        on_build: Called once, after the first batch has shown all shapes and the adapters exist.

    Raises:
        ConfigError: If a path matches nothing or a distiller does not fit the networks.
    """

    def __init__(
        self,
        student: nn.Module,
        distillers: Mapping[str, BaseDistiller],
        teacher: BaseTeacher | None,
        on_build: Callable[[], None],
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.members = DistillerSet(distillers)
        self.module: nn.Module = self.members
        self.built = False
        self.force = False
        self.reporting = False
        self.shapes: dict[str, dict[str, list[tuple[int, ...]]]] = {}
        self.iteration = 0
        self.epoch = 0
        self.weights: dict[str, float] = dict.fromkeys(distillers, 0.0)
        self.task_weight = 1.0
        self.sync_gradients: Callable[[], bool] = lambda: True
        self.on_losses: Callable[[dict[str, Tensor], dict[str, Tensor], Tensor, Batch], None] | None = None
        self._on_build = on_build
        self._recorded = False
        for name, member in self.members.items():
            member.check_models(student, teacher.model if self.taught(name) and teacher else student)
        self.student_taps, self.teacher_taps = self._make_taps()
        self._handles = [
            student.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            student.register_forward_hook(self._after_forward, with_kwargs=True),
        ]

    def taught(self, name: str) -> bool:
        """Whether a distiller listens to the teacher, and not to the student itself."""
        source = dict(self.members.items())[name].source
        return source == 'teacher' or (source == 'auto' and self.teacher is not None)

    def _make_taps(self) -> tuple[TapSet, TapSet | None]:
        ours: dict[str, str] = {}
        theirs: dict[str, str] = {}
        for name, member in self.members.items():
            ours.update({f'{member.key}.{alias}': path for alias, path in member.student_taps().items()})
            wanted = {f'{member.key}.{alias} (teacher)': path for alias, path in member.teacher_taps().items()}
            (theirs if self.taught(name) else ours).update(wanted)
        teacher_taps = TapSet(self.teacher.model, theirs, 'teacher') if self.teacher else None
        return TapSet(self.student, ours, 'student'), teacher_taps

    def active(self) -> list[str]:
        """Return the distillers that count in this iteration."""
        ready = self.teacher is None or self.teacher.ready
        return [
            name
            for name, weight in self.weights.items()
            if self.force or (weight > 0 and (ready or not self.taught(name)))
        ]

    def _before_forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._recorded = _mode(args, kwargs) == 'loss' and module.training and (not self.built or bool(self.active()))
        if self._recorded:
            if self.teacher is not None and self.teacher.after_student:
                self.teacher.before_student()
            else:
                # The teacher goes first: what it needs in passing is gone before the student's activations pile up.
                self._run_teacher(args, kwargs)
            self.student_taps.start()

    def _after_forward(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        self.student_taps.stop()
        if _mode(args, kwargs) != 'loss' or not module.training or not isinstance(output, dict):
            return None
        call = {**dict(zip(('inputs', 'data_samples'), args)), **kwargs}
        batch = Batch(call.get('inputs'), call.get('data_samples'), self.iteration, self.epoch)
        task = task_loss(output)
        if self._recorded:
            if self.teacher is not None and self.teacher.after_student:
                self._run_teacher(args, kwargs)
            raw = self._distill(batch, task)
        else:
            raw = {key: torch.zeros((), device=task.device) for key in self.members.loss_keys()}
        weighted = {key: value * self.weights[key.split('.')[1]] for key, value in raw.items()}
        if self.on_losses is not None:
            self.on_losses(raw, weighted, task, batch)
        return {**scale_task(output, self.task_weight), **weighted}

    def _run_teacher(self, args: Any, kwargs: Any) -> None:
        listening = not self.built or any(self.taught(name) for name in self.active())
        if self.teacher is not None and self.teacher_taps is not None and listening:
            self.teacher_taps.start()
            # In eval mode a teacher draws no random numbers; at the first batch, where weights may all be 0, make sure.
            with nullcontext() if self.built else forked_rng():
                self.teacher.run(args, kwargs)
            self.teacher_taps.stop()

    def _distill(self, batch: Batch, task: Tensor) -> dict[str, Tensor]:
        device = _device_type(self.student)
        active = self.active()
        with torch.autocast(device, enabled=False):
            names = list(self.weights) if not self.built else active
            ours, theirs = self._read(names)
            if not self.built:
                self._build(ours, theirs)
            if isinstance(self.module, DistributedDataParallel):
                # Under gradient accumulation the student's wrapper skips the reduction; so do we.
                self.module.require_backward_grad_sync = self.sync_gradients()
            if active:
                losses: dict[str, Tensor] = self.module(ours, theirs, batch, active)
            else:
                losses = {key: torch.zeros((), device=task.device) for key in self.members.loss_keys()}
        for taps in self.all_taps():
            if self.reporting:
                self.shapes[taps.role] = taps.shapes()
            taps.clear()
        return losses

    def all_taps(self) -> list[TapSet]:
        """Return the taps of the student and, where there is one, the teacher."""
        return [self.student_taps, *([self.teacher_taps] if self.teacher_taps is not None else [])]

    def _read(self, names: list[str]) -> tuple[dict[str, Taps], dict[str, Taps]]:
        ours: dict[str, Taps] = {}
        theirs: dict[str, Taps] = {}
        for name, member in self.members.items():
            if name not in names:
                continue
            ours[name] = {
                alias: [as_float32(tensor) for tensor in self.student_taps.read(path)]
                for alias, path in member.student_taps().items()
            }
            taps = self.teacher_taps if self.taught(name) and self.teacher_taps is not None else self.student_taps
            theirs[name] = {
                alias: [as_float32(tensor.detach()) for tensor in taps.read(path)]
                for alias, path in member.teacher_taps().items()
            }
        return ours, theirs

    def _build(self, ours: dict[str, Taps], theirs: dict[str, Taps]) -> None:
        with forked_rng():
            for name, member in self.members.items():
                member.initialize(ours[name], theirs[name])
            self.members.to(next(self.student.parameters()).device)
            has_params = any(param.requires_grad for param in self.members.parameters())
            if has_params and is_distributed():
                self.module = DistributedDataParallel(self.members, broadcast_buffers=False)
        self.built = True
        self._on_build()

    def detach(self) -> None:
        """Take every hook off the student."""
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
