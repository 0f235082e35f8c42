"""Run modules of a network on other tensors than their own, call by call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .errors import TapError


@contextmanager
def injected(model: nn.Module, replacements: Mapping[str, Sequence[Tensor]]) -> Iterator[None]:
    """Replace the first positional argument of modules, call by call.

    A head that runs once per level of a pyramid gets one tensor for each level, in its order. The hooks are removed at
    the end, also after an error.

    Args:
        model: The network.
        replacements: Path of each module to the tensors that its calls get, in the order of the calls.

    Raises:
        TapError: If a path names no module, a module is called more or less often than there are tensors, or it is
            called without a positional argument.

    >>> import torch
    >>> model = nn.Sequential(nn.Identity(), nn.ReLU())
    >>> with injected(model, {'1': [torch.tensor(5.0)]}):
    ...     print(model(torch.tensor(-1.0)))
    tensor(5.)
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    missing = next((path for path in replacements if path not in modules), None)
    if missing is not None:
        raise TapError(f"'{missing}' names no module of {type(model).__name__}, so it cannot get other inputs")
    calls = dict.fromkeys(replacements, 0)

    def replacer(path: str, tensors: Sequence[Tensor]) -> Any:
        def replace(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            call, calls[path] = calls[path], calls[path] + 1
            if call >= len(tensors):
                raise TapError(f"'{path}' is called more often than the {len(tensors)} times for which it has inputs")
            if not args:
                raise TapError(f"'{path}' is called without a positional argument, which other inputs could replace")
            return (tensors[call], *args[1:])

        return replace

    handles = [
        modules[path].register_forward_pre_hook(replacer(path, tensors)) for path, tensors in replacements.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    for path, tensors in replacements.items():
        if calls[path] != len(tensors):
            raise TapError(f"'{path}' was called {calls[path]} times and has inputs for {len(tensors)} calls")
