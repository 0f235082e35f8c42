"""Teacher that is the loaded student before some of its parts restarted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..taps import TapSet, flatten
from ..utils.checks import check_flag
from .base import BaseTeacher
from .folding import BatchNormFolding
from .student_copy import ModelBuilder, second_network


@dataclass
class Call:
    """One call of a module: its input tensors and its output."""

    inputs: list[Tensor]
    output: Any

    def matches(self, args: Any, kwargs: Any) -> bool:
        """Return whether a call has the same input tensors: the same objects in the same order."""
        tensors = flatten((args, kwargs))
        return bool(tensors) and len(tensors) == len(self.inputs) and all(a is b for a, b in zip(tensors, self.inputs))


@TASK_UTILS.register_module()
class FinishedTeacher(BaseTeacher):
    """Finished model as teacher of its restarted parts (DWPose, arXiv 2307.15880, section 3.3).

    Only the restarted parts are copied. The frozen modules are shared with the student, and their outputs from the
    student's pass are reused, so that the backbone runs once per step. A frozen module runs again if its inputs differ
    from those in the student's pass, for example a decoder without denoising queries.

    Args:
        fold: Whether BatchNorm layers of the copied parts are folded, see
            :class:`~kd_plugins.teachers.frozen.FrozenTeacher`.
        mode: See :class:`~kd_plugins.teachers.base.BaseTeacher`.
        key: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If no part of the student restarts.
    """

    after_student = True
    version = 2

    def __init__(self, fold: bool = True, mode: str = 'tensor', key: str = 'teacher') -> None:
        super().__init__(mode, key)
        self.fold = check_flag(f'{key}.fold', fold)
        self._calls: dict[nn.Module, list[Call]] = {}
        self._handles: list[RemovableHandle] = []
        self._copied: dict[str, Tensor] = {}

    def prepare(
        self, student: nn.Module, iteration: int = 0, epoch: int = 0, build_model: ModelBuilder | None = None
    ) -> None:
        """Copy the parts that restart and share the rest."""
        if not self.frozen:
            raise ConfigError(
                f"{self.key}.type is 'kd_plugins.FinishedTeacher', which teaches parts that restart, and "
                "default_hooks.distill.restart is None; nearest: restart=dict(parts=['head']), or a FrozenTeacher"
            )
        self._adopt(second_network(student, build_model, self.key, self.frozen))
        self.folding = BatchNormFolding(self.model, self.frozen.values(), self.key, self.fold)
        # These tensors stay as they are when layers are folded.
        self._copied = {
            name: tensor
            for name, tensor in self.model.state_dict().items()
            if not any(name.startswith(f'{path}.') for path in self.frozen)
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the weights of the copied parts, which the student's checkpoint no longer holds."""
        folded = self.folding.state() if self.folding is not None else None
        return {'model': dict(self._copied), 'folded': folded}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the weights of the copied parts.

        Raises:
            ConfigError: If the parts of the resumed run were others.
        """
        missing = [name for name in self._copied if name not in state['model']]
        if missing:
            raise ConfigError(
                f"default_hooks.distill.restart.parts: the resumed checkpoint holds no trained '{missing[0]}'; resume "
                'with the parts of that run, or start a new run with load_from'
            )
        # They would be loaded into modules that are shared with the student.
        foreign = next((name for name in state['model'] if name not in self._copied), None)
        if foreign is not None:
            raise ConfigError(
                f"default_hooks.distill.restart.parts: the resumed checkpoint holds '{foreign}', which does not "
                'restart in this run; resume with the parts of that run, or start a new run with load_from'
            )
        # load_state_dict would also change the modules that are shared: a BatchNorm's counter before torch 2.2, the
        # scale of MMCV's ConvAWS2d, and weights that it takes for those of an older release.
        for name, tensor in self._copied.items():
            saved = state['model'][name]
            if saved.shape != tensor.shape:
                raise ValueError(f"'{name}' has shape {tuple(saved.shape)} there and {tuple(tensor.shape)} here")
            tensor.copy_(saved)
        if self.folding is not None:
            self.folding.load_state(state['folded'])

    def before_student(self) -> None:
        """Record the inputs and outputs of the frozen modules."""
        self.forget()
        for name, module in self.frozen.items():
            if '.' not in name:
                self._handles.append(module.register_forward_hook(self._record, with_kwargs=True))

    def _record(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._calls.setdefault(module, []).append(Call(flatten((args, kwargs)), output))

    def forget(self) -> None:
        """Drop the recorded calls."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._calls.clear()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any], taps: TapSet | None = None) -> None:
        """Run the copied parts on the outputs of the student's frozen modules."""
        calls = dict(self._calls)
        self.forget()
        with _replayed(calls):
            super().run(args, kwargs, taps)


@contextmanager
def _replayed(calls: dict[nn.Module, list[Call]]) -> Iterator[None]:
    """Let modules return their recorded outputs for the recorded input tensors."""
    originals = {module: module.__dict__.get('forward') for module in calls}

    def replay(module: nn.Module) -> Any:
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            recorded = next((call for call in calls[module] if call.matches(args, kwargs)), None)
            return original(*args, **kwargs) if recorded is None else recorded.output

        return forward

    for module in calls:
        module.forward = replay(module)
    try:
        yield
    finally:
        for module, forward in originals.items():
            if forward is None:
                del module.forward
            else:
                module.forward = forward
