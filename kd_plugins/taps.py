"""Taps: forward hooks that keep the outputs of modules named by dotted path.

A path names one module (``neck``, ``bbox_head.gfl_reg``) or, with ``*`` for one path segment, several in their order
in the model (``bbox_head.scales.*``). A tap yields a flat list of tensors: for each module that the path matches, for
each of its calls (a head that is called once per FPN level yields one entry per level), and for each member of an
output that is a tuple or a dict.

The end of a tap says what is recorded (see :mod:`kd_plugins.tap_paths`): ``:in.1`` or ``:in.NAME`` an argument of the
call instead of the output, ``:copy`` a copy, and ``@14x14`` a map from the tokens of a transformer. An argument that is
None, as the mask of a batch without padding, gives a tensor without elements.

A tap ``param:PATH`` yields parameters instead, in their order in the model, with any call or without one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .errors import ConfigError, TapError, nearest
from .tap_paths import PARAMETERS, TapPath, argument_of


def match_modules(model: nn.Module, path: str, key: str, role: str = 'student') -> list[tuple[str, nn.Module]]:
    """Return the modules that ``path`` names.

    Args:
        model: The model to search.
        path: Dotted path; ``*`` matches exactly one segment or a part of one.
        key: Config key for the error sentence.
        role: ``'student'`` or ``'teacher'``, for the error sentence.

    Returns:
        Pairs of full name and module, in the order in which the model registered them.

    Raises:
        ConfigError: If nothing matches.
    """
    pattern = re.compile('[^.]*'.join(re.escape(part) for part in path.split('*')) + r'\Z')
    # A module that is shared by several parents has several names, and a path may be any of them.
    named = [(name, module) for name, module in model.named_modules(remove_duplicate=False) if name]
    matches: dict[int, tuple[str, nn.Module]] = {}
    for name, module in named:
        if pattern.match(name):
            matches.setdefault(id(module), (name, module))
    if not matches:
        raise ConfigError(f"{key}: '{path}' names no module of the {role}; {nearest(path.strip(' .'), dict(named))}")
    return list(matches.values())


def match_parameters(model: nn.Module, path: str, key: str, role: str = 'student') -> list[tuple[str, nn.Parameter]]:
    """Return the parameters that ``path`` names, each one once.

    Args:
        model: The model to search.
        path: Dotted path without ``param:``; ``*`` matches exactly one segment or a part of one, ``**`` any number of
            segments.
        key: Config key for the error sentence.
        role: ``'student'`` or ``'teacher'``, for the error sentence.

    Returns:
        Pairs of full name and parameter, in the order in which the model registered them.

    Raises:
        ConfigError: If nothing matches.

    >>> [name for name, _ in match_parameters(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), '**', 'key')]
    ['0.weight', '0.bias']
    """
    # A shared parameter has several names, and a path may hold any of them.
    named = list(model.named_parameters(remove_duplicate=False))
    matches: dict[int, tuple[str, nn.Parameter]] = {}
    for name, parameter in named:
        if _parameter_pattern(path).match(name):
            matches.setdefault(id(parameter), (name, parameter))
    if not matches:
        wider = re.sub(r'(?<!\*)\*(?!\*)', '**', path)
        count = sum(bool(_parameter_pattern(wider).match(name)) for name, _ in named)
        advice = nearest(path.strip(' .'), dict(named))
        if count:
            advice = f"nearest: '{PARAMETERS}{wider}', which names {count}, as '**' stands for any number of segments"
        raise ConfigError(f"{key}: '{PARAMETERS}{path}' names no parameter of the {role}; {advice}")
    return list(matches.values())


def _parameter_pattern(path: str) -> re.Pattern[str]:
    parts = {'**': '.*', '*': '[^.]*'}
    return re.compile(''.join(parts.get(part, re.escape(part)) for part in re.split(r'(\*\*?)', path)) + r'\Z')


def module_at(model: nn.Module, path: str, key: str, role: str = 'student') -> nn.Module:
    """Return the module at a path without ``*``.

    Args:
        model: The model to search.
        path: Dotted path.
        key: Config key for the error sentence.
        role: ``'student'`` or ``'teacher'``, for the error sentence.

    Raises:
        ConfigError: If there is none.
    """
    modules = dict(model.named_modules())
    if path not in modules:
        near = nearest(path, [name for name in modules if name])
        raise ConfigError(f"{key}: '{path}' names no module of the {role}; {near}")
    return modules[path]


def flatten(output: Any) -> list[Tensor]:
    """Return the tensors of a module's output, depth first.

    >>> import torch
    >>> [tuple(t.shape) for t in flatten((torch.zeros(1), {'a': torch.zeros(2)}, None))]
    [(1,), (2,)]
    """
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = output.values()
    elif not isinstance(output, (list, tuple)):
        return []
    return [tensor for member in output for tensor in flatten(member)]


class _AllRecorded(BaseException):
    """Every tap has recorded, so the rest of the forward pass is not needed.

    It is not derived from ``Exception``, so that a network's own ``except Exception`` does not catch it.
    """


class TapSet:
    """All taps of one model; they record between :meth:`start` and :meth:`stop`, or inside :meth:`forward_pass`.

    Args:
        model: The model to tap. Only forward hooks and forward pre-hooks are added, which :meth:`remove` removes.
        paths: Config key of each path (for error sentences) to the path. Equal paths share one tap.
        role: ``'student'`` or ``'teacher'``, for error sentences.

    Raises:
        ConfigError: If a path matches no module and no parameter, or its end cannot be read.
    """

    def __init__(self, model: nn.Module, paths: Mapping[str, str], role: str = 'student') -> None:
        self.role = role
        self.recording = False
        self.contiguous = False
        """Whether :meth:`read` returns contiguous copies of tensors in another memory format."""
        self.continues: Callable[[], bool] | None = None
        """Whether a pass that may end early has to go on, for something else than taps, until :meth:`end_pass`."""
        self._keys = {path: key for key, path in paths.items()}
        self._paths: dict[str, TapPath] = {}
        self._members: dict[str, list[tuple[str, nn.Module]]] = {}
        self._parameters: dict[str, list[Tensor]] = {}
        sources: dict[str, tuple[nn.Module, TapPath]] = {}
        for path, key in self._keys.items():
            tap = self._paths[path] = TapPath.parse(path, key)
            if tap.parameters:
                # The objects themselves: a module that is folded or copied later gets others.
                self._parameters[path] = [one for _, one in match_parameters(model, tap.module, key, role)]
                continue
            # The name of a recording is the module's name with the end of the tap, such as 'head:in.1'.
            modules = match_modules(model, tap.module, key, role)
            self._members[path] = [(name + tap.recorded, module) for name, module in modules]
            sources.update({name: (module, tap) for name, module in self._members[path]})
        self._outputs: dict[str, list[Tensor]] = {}
        self._versions: dict[str, list[int]] = {}
        self._calls: Counter[str] = Counter()
        self._full_pass: Counter[str] = Counter()
        self._ends_early = False
        self._handles: list[RemovableHandle] = []
        for name, (module, tap) in sources.items():
            if tap.argument is None:
                self._handles.append(module.register_forward_hook(self._output_recorder(name, tap)))
            else:
                hook = self._input_recorder(name, tap, tap.argument)
                self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def _output_recorder(self, name: str, tap: TapPath) -> Any:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            if self.recording:
                self._record(name, tap, output)

        return record

    def _input_recorder(self, name: str, tap: TapPath, argument: str) -> Any:
        def record(module: nn.Module, args: Any, kwargs: Any) -> None:
            if self.recording:
                value = argument_of(module, args, kwargs, argument, name)
                self._record(name, tap, torch.empty(0) if value is None else value)

        return record

    def _record(self, name: str, tap: TapPath, value: Any) -> None:
        tensors = [tensor.clone() if tap.copy else tensor for tensor in flatten(value)]
        self._outputs.setdefault(name, []).extend(tensors)
        self._versions.setdefault(name, []).extend(tensor._version for tensor in tensors)
        self._calls[name] += 1
        self.end_pass()

    def end_pass(self) -> None:
        """End the forward pass that is recorded, if it may end early and nothing is missing."""
        complete = self._ends_early and self._calls == self._full_pass
        if complete and not (self.continues is not None and self.continues()):
            raise _AllRecorded

    @contextmanager
    def forward_pass(self, ends_early: bool) -> Iterator[None]:
        """Record one forward pass of a network whose output is not needed.

        Args:
            ends_early: Whether the pass ends when every tapped module has run as often as in the first pass, which
                always runs to its end. What the network would compute after its last tap is saved.
        """
        self.start()
        self._ends_early = ends_early and bool(self._full_pass)
        try:
            yield
            self._full_pass = self._full_pass or self._calls
        except _AllRecorded:
            pass
        finally:
            self._ends_early = False
            self.stop()

    def start(self) -> None:
        """Drop the recorded tensors and start recording."""
        self.clear()
        self.recording = True

    def stop(self) -> None:
        """Stop recording, because a backward pass with activation checkpointing calls modules again."""
        self.recording = False

    def clear(self) -> None:
        """Drop every recorded tensor, so that none outlives the step."""
        self._outputs = {}
        self._versions = {}
        self._calls = Counter()

    def recorded(self) -> list[Tensor]:
        """Return all recorded tensors."""
        return [tensor for outputs in self._outputs.values() for tensor in outputs]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to record."""
        return not self._members

    @property
    def parameters_only(self) -> bool:
        """Whether all taps read parameters, so that the network need not run."""
        return self.empty and bool(self._parameters)

    def tensors(self, path: str) -> list[Tensor]:
        """Return what the modules of ``path`` gave, before any conversion, to take gradients at."""
        if path in self._parameters:
            return self._parameters[path]
        return [tensor for name, _ in self._members[path] for tensor in self._outputs.get(name, [])]

    def read(self, path: str, may_rest: bool = False) -> list[Tensor]:
        """Return what the modules of ``path`` recorded, in module order, then call order, or the parameters of it.

        Args:
            path: The path.
            may_rest: Whether a module that was not called gives nothing instead of an error.

        Raises:
            TapError: If one of the modules was not called (the sentence lists the taps that fired), if its output has
                been overwritten since, or if it does not fit the tap's grid.
        """
        if path in self._parameters:
            return self._parameters[path]
        outputs: list[Tensor] = []
        for name, _ in self._members[path]:
            if name not in self._outputs:
                if may_rest:
                    continue
                fired = ', '.join(f"'{other}'" for other in self._outputs) or 'none'
                raise TapError(
                    f"{self._keys[path]}: '{name}' exists in the {self.role} but never ran in this forward pass "
                    f'(heads that call self.forward(...) do not fire: tap their last layers); taps that fired: {fired}'
                )
            if any(tensor._version != version for tensor, version in zip(self._outputs[name], self._versions[name])):
                what = 'output' if self._paths[path].argument is None else 'input'
                raise TapError(
                    f"{self._keys[path]}: the {what} of '{name}' was overwritten after it ran, as an activation with "
                    'inplace=True does to the layer before it; tap the overwriting module, set inplace=False, or end '
                    "the tap in ':copy'"
                )
            if self.contiguous:
                # The copies take the place of the recorded tensors, so that both are not kept.
                self._outputs[name] = [tensor.contiguous() for tensor in self._outputs[name]]
                self._versions[name] = [tensor._version for tensor in self._outputs[name]]
            # Contiguous, as the network's own maps are.
            outputs.extend(
                tensor if self._paths[path].grid is None else tensor.contiguous() for tensor in self._maps(path, name)
            )
        return outputs

    def _maps(self, path: str, name: str) -> list[Tensor]:
        """Return the recorded outputs of a module as the tap wants them."""
        outputs, grid = self._outputs.get(name, []), self._paths[path].grid
        if grid is None:
            return outputs
        for tensor in outputs:
            if tensor.ndim != 3 or tensor.shape[1] != grid.tokens:
                raise TapError(
                    f"{self._keys[path]}: '{name}' gives {tuple(tensor.shape)}, and '{path}' needs tokens of shape "
                    f"(N, {grid.tokens}, C); the axes after '@' multiply to the number of tokens, after those that "
                    "'K+' leaves out"
                )
        return [grid.map_of(tensor) for tensor in outputs]

    def shapes(self) -> dict[str, list[tuple[int, ...]]]:
        """Return path to the shapes of the recorded tensors and of the parameters, for reports."""
        recorded = {
            path: [tuple(tensor.shape) for name, _ in members for tensor in self._maps(path, name)]
            for path, members in self._members.items()
        }
        parameters = {path: [tuple(one.shape) for one in members] for path, members in self._parameters.items()}
        return {**recorded, **parameters}

    def remove(self) -> None:
        """Remove every hook from the model and drop the recorded tensors."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.clear()
