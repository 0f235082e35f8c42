"""Make a second network with the weights of the student: rebuilt from its config, or a checked copy of the object.

A copy of the object is not safe in general. Activation checkpointing, ``torch.compile`` and other tools replace
``forward`` on the instance by a function that is bound to the student. ``copy.deepcopy`` keeps that function, so the
copy would run the student's layers. A network that is built from the config has a ``forward`` of its own.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError

ModelBuilder = Callable[[], nn.Module]
HOOKS = ('_forward_hooks', '_forward_pre_hooks')


def second_network(
    student: nn.Module, build_model: ModelBuilder | None, key: str, shared: Mapping[str, nn.Module] | None = None
) -> nn.Module:
    """Return a network with the structure and the weights of the student and a ``forward`` of its own.

    Args:
        student: The student network.
        build_model: Builds the network of the run's config; ``None`` where the run got a model object.
        key: Config key of the teacher, for the error sentence.
        shared: Modules of the student by name that the new network uses itself, instead of a copy.

    Raises:
        ConfigError: If the network can neither be built nor copied.
    """
    shared = shared or {}
    reason = 'the run got a model object instead of a config'
    if build_model is not None:
        built, reason = _rebuilt(student, build_model, shared)
        if built is not None:
            return built
    check_copyable(student, key, reason)
    # ``deepcopy`` keeps the modules that its memo maps to themselves.
    memo: dict[int, Any] = {id(module): module for module in shared.values()}
    try:
        copied = copy.deepcopy(student, memo)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f'{key}: the student cannot be copied ({error}), and {reason}; give model as a config, or use a '
            'FrozenTeacher'
        ) from error
    # The copy includes the gradients of the student, which are not needed.
    kept = {id(param) for module in shared.values() for param in module.parameters()}
    for param in copied.parameters():
        if id(param) not in kept:
            param.grad = None
    return copied


def _rebuilt(
    student: nn.Module, build_model: ModelBuilder, shared: Mapping[str, nn.Module]
) -> tuple[nn.Module | None, str]:
    """Build the network of the config and give it the student's tensors; else return the reason why not."""
    try:
        model = build_model()
    # Anything may go wrong in a constructor that was written to run once.
    except Exception as error:
        return None, f'its config cannot be built a second time ({type(error).__name__}: {error})'
    mine, theirs = (dict(_named_tensors(network)) for network in (model, student))
    persistent = dict.fromkeys([*student.state_dict(), *model.state_dict()])
    different = next((name for name in persistent if _differ(mine.get(name), theirs.get(name))), None)
    if different is not None:
        return None, f"the network of its config differs from it in '{different}'"
    if _groups(mine, persistent) != _groups(theirs, persistent):
        return None, 'the network of its config shares other tensors'
    if shared:
        _share(model, student, shared)
    kept = {id(tensor) for module in shared.values() for _, tensor in _named_tensors(module)}
    # A network may add buffers that are not persistent, or change their shape, when it runs: these stay its own.
    model.to(next((tensor.device for _, tensor in _named_tensors(student)), None))
    for name, tensor in _named_tensors(model):
        source = theirs.get(name)
        if id(tensor) not in kept and source is not None and source.shape == tensor.shape:
            # A clone has device, dtype and memory format of the student's tensor.
            tensor.data = source.detach().clone()
    return model, ''


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and buffer, also those that ``state_dict`` leaves out, under every name."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _differ(first: Tensor | None, second: Tensor | None) -> bool:
    if first is None or second is None:
        return first is not second
    return first.shape != second.shape


def _groups(tensors: Mapping[str, Tensor], persistent: Mapping[str, Any]) -> set[frozenset[str]]:
    """Return the sets of names in the state dict that share one tensor."""
    names: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        if name in persistent:
            names.setdefault(id(tensor), []).append(name)
    return {frozenset(group) for group in names.values() if len(group) > 1}


def _share(model: nn.Module, student: nn.Module, shared: Mapping[str, nn.Module]) -> None:
    """Put modules of the student in the place of those of a network, wherever it refers to them."""
    others = dict(student.named_modules(remove_duplicate=False))
    prefixes = tuple(shared)
    replacements = {
        id(module): others[name]
        for name, module in model.named_modules(remove_duplicate=False)
        if name in others and any(name == prefix or name.startswith(f'{prefix}.') for prefix in prefixes)
    }
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if id(child) in replacements:
                module._modules[name] = replacements[id(child)]


def check_copyable(student: nn.Module, key: str, reason: str) -> None:
    """Refuse a network whose copy would still run, or record from, the network itself.

    Args:
        student: The network.
        key: Config key of the teacher, for the error sentence.
        reason: Why it is not built from its config.

    Raises:
        ConfigError: If a module has a ``forward`` of its instance or a foreign forward hook.
    """
    modules = dict(student.named_modules())
    own = {id(module) for module in modules.values()}
    for name, module in modules.items():
        bound = 'forward' in vars(module) and not _follows_copy(vars(module)['forward'], own)
        hooks = [hook for kind in HOOKS for hook in getattr(module, kind).values()]
        if not bound and all(_follows_copy(hook, own) for hook in hooks):
            continue
        cause = 'a forward of its own, as activation checkpointing sets it,' if bound else 'a forward hook of others'
        raise ConfigError(
            f"{key}: '{name or type(student).__name__}' of the student has {cause} that a copy would share, and "
            f'{reason}; give model as a config that builds the student, or use a FrozenTeacher'
        )


def _follows_copy(function: Any, own: Iterable[int]) -> bool:
    """Return whether ``deepcopy`` of a network gives it a function that works on the copy."""
    if isinstance(function, types.MethodType):
        return id(function.__self__) in own
    if isinstance(function, functools.partial):
        return False
    if isinstance(function, types.FunctionType):
        return function.__closure__ is None
    return not isinstance(function, nn.Module)
