"""Peak memory of one training step, on CUDA from the allocator, on the CPU from the tensors that are alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ..runner.steps import distill_hook


class LiveBytes(TorchDispatchMode):
    """Count the bytes of all storages that operators create inside it, and of those named at the start, while they
    live.

    What an operator's kernel allocates and frees inside itself (a convolution's workspace) is not seen, in either arm
    of a comparison; the allocator's caching, which makes the resident set of a CPU process useless for this, does not
    disturb it. Activations that autograd keeps count until the backward pass frees them.

    Args:
        held: Tensors that exist before: weights, optimizer state, a teacher.

    >>> held = torch.zeros(4)
    >>> with LiveBytes([held]) as live:
    ...     a = torch.ones(256)
    ...     b = a.exp()
    ...     del a
    >>> live.peak, live.now
    (2064, 1040)
    """

    def __init__(self, held: list[Tensor]) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._seen: dict[int, Any] = {}
        for tensor in held:
            self._add(tensor)

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return

        def freed(_: Any) -> None:
            self._seen.pop(key, None)
            self.now -= size

        self._seen[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and count what it returns."""
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._add(value)
        return result


def _tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _tensors(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _tensors(value)


def held_tensors(runner: Any) -> list[Tensor]:
    """Return what a run keeps between steps: weights, gradients, optimizer state, teacher and adapters."""
    modules = [runner.model]
    hook = distill_hook(runner)
    if hook is not None:
        if hook.session is not None:
            modules.append(hook.session.distillers)
        if hook.teacher is not None:
            modules.append(hook.teacher.model)
    found = [tensor for module in modules for tensor in [*module.parameters(), *module.buffers()]]
    found += [value.grad for value in found if value.grad is not None]
    return [*found, *_tensors(list(runner.optim_wrapper.optimizer.state.values()))]


def storage_bytes(tensors: list[Tensor]) -> int:
    """Return the bytes of the storages behind ``tensors``, each counted once.

    >>> a = torch.zeros(8)
    >>> storage_bytes([a, a[:2]])
    32
    """
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def peak_bytes(runner: Any, step: Callable[[], Any]) -> int:
    """Run one step and return the most bytes that this run's tensors took during it.

    On CUDA the allocator's peak is taken, less what other runs in the process hold.
    """
    held = held_tensors(runner)
    if torch.cuda.is_available():
        others = torch.cuda.memory_allocated() - storage_bytes(held)
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated()) - others
    live = LiveBytes(held)
    with live:
        step()
    return live.peak
