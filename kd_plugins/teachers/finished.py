"""The student as it was loaded, before some of its parts restarted: it teaches the new ones."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import ConfigError
from ..registry import TASK_UTILS
from ..taps import flatten
from .base import BaseTeacher


@dataclass
class Call:
    """What a module was given, tensor by tensor, and what it returned."""

    inputs: list[Tensor]
    output: Any

    def matches(self, args: Any, kwargs: Any) -> bool:
        """Whether a call would be given the very same tensors."""
        tensors = flatten((args, kwargs))
        return bool(tensors) and len(tensors) == len(self.inputs) and all(a is b for a, b in zip(tensors, self.inputs))


@TASK_UTILS.register_module()
class FinishedTeacher(BaseTeacher):
    """Teach restarted parts with the same model as it was before (DWPose, arXiv 2307.15880, section 3.3).

    Only the restarted parts are copied. The frozen modules are the student's own, and what they have computed for the
    student is not computed again: the backbone runs once per step. A frozen module that gets other tensors than in the
    student's pass (a decoder without denoising queries, for example) does run again.

    Args:
        mode: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If nothing of the student restarts.
    """

    after_student = True

    def __init__(self, mode: str = 'tensor') -> None:
        super().__init__(mode)
        self._calls: dict[nn.Module, list[Call]] = {}
        self._handles: list[RemovableHandle] = []
        self._copied: list[str] = []

    def prepare(self, student: nn.Module, iteration: int = 0, epoch: int = 0) -> None:
        """Copy what is going to restart and share the rest."""
        if not self.frozen:
            raise ConfigError(
                "teacher.type is 'kd_plugins.FinishedTeacher', which teaches parts that restart, and "
                "default_hooks.distill.restart is None; nearest: restart=dict(parts=['head']), or a FrozenTeacher"
            )
        shared: dict[int, Any] = {id(module): module for module in self.frozen.values()}
        self._adopt(copy.deepcopy(student, shared))
        self._copied = [
            name for name in student.state_dict() if not any(name.startswith(f'{path}.') for path in self.frozen)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return the weights of the copied parts: the student's checkpoint has others by then."""
        state = self.model.state_dict()
        return {name: state[name] for name in self._copied}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the weights of the copied parts back."""
        missing = [name for name in self._copied if name not in state]
        if missing:
            raise ConfigError(
                f"restart.parts: the resumed checkpoint holds no trained '{missing[0]}'; resume with the parts of that "
                'run, or start anew with load_from'
            )
        self.model.load_state_dict(state, strict=False)

    def before_student(self) -> None:
        """Remember what the frozen modules are given and return."""
        self.forget()
        for name, module in self.frozen.items():
            if '.' not in name:
                self._handles.append(module.register_forward_hook(self._remember, with_kwargs=True))

    def _remember(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._calls.setdefault(module, []).append(Call(flatten((args, kwargs)), output))

    def forget(self) -> None:
        """Drop what was remembered."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._calls.clear()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the copied parts on what the student's frozen modules have computed."""
        calls = dict(self._calls)
        self.forget()
        with _replayed(calls):
            super().run(args, kwargs)


@contextmanager
def _replayed(calls: dict[nn.Module, list[Call]]) -> Iterator[None]:
    """Let modules return what they returned before, where they get the same tensors."""
    before = {module: module.__dict__.get('forward') for module in calls}

    def replay(module: nn.Module) -> Any:
        original = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            found = next((call for call in calls[module] if call.matches(args, kwargs)), None)
            return original(*args, **kwargs) if found is None else found.output

        return forward

    for module in calls:
        module.forward = replay(module)
    try:
        yield
    finally:
        for module, own in before.items():
            if own is None:
                del module.forward
            else:
                module.forward = own
