"""Peak memory of one training step: from the allocator on CUDA, from the storages that are alive elsewhere."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.utils import digit_version
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from ..errors import ConfigError
from ..runner.steps import distill_hook

LOWEST = '2.5'
"""The lowest torch whose storages are known to bear weak references; with 2.1 the interpreter crashes."""


class LiveBytes(TorchDispatchMode):
    """Count the bytes of all storages that are alive: those of given tensors and those that operators create inside.

    Activations that autograd keeps count until the backward pass frees them. The caching of the allocator, which makes
    the resident set of a CPU process useless for this purpose, has no influence. Memory that a kernel allocates and
    frees inside one operator (the workspace of a convolution) is not counted.

    Args:
        held: Tensors that exist before, such as weights, optimizer state and a teacher.

    Raises:
        ConfigError: If this torch is older than :data:`LOWEST`.

    >>> held = torch.zeros(4)
    >>> with LiveBytes([held]) as live:
    ...     a = torch.ones(256)
    ...     b = a.exp()
    ...     del a
    >>> live.peak, live.now
    (2064, 1040)
    """

    def __init__(self, held: list[Tensor]) -> None:
        if digit_version(torch.__version__) < digit_version(LOWEST):
            raise ConfigError(
                f'memory on a CPU needs torch {LOWEST} or newer to be counted, and this is {torch.__version__}'
            )
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
        """Run one operator and count the tensors that it returns."""
        result = func(*args, **(kwargs or {}))
        for value in tree_flatten(result)[0]:
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
    """Return the tensors that a run keeps between steps: weights, gradients, optimizer state, teacher and adapters."""
    modules = [runner.model]
    hook = distill_hook(runner)
    if hook is not None:
        if hook.session is not None:
            modules.append(hook.session.distillers)
        modules += [teacher.model for teacher in hook.teachers.values()]
    held = [tensor for module in modules for tensor in [*module.parameters(), *module.buffers()]]
    held += [tensor.grad for tensor in held if tensor.grad is not None]
    optimizers = [runner.optim_wrapper.optimizer]
    if hook is not None and hook.optimizer is not None:
        optimizers.append(hook.optimizer.optimizer)
    return [*held, *_tensors([list(optimizer.state.values()) for optimizer in optimizers])]


def storage_bytes(tensors: list[Tensor]) -> int:
    """Return the bytes of the storages behind ``tensors``, each counted once.

    >>> a = torch.zeros(8)
    >>> storage_bytes([a, a[:2]])
    32
    """
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def peak_beyond(held: list[Tensor], action: Callable[[], Any], device: str) -> int:
    """Run a function once and return how many bytes its tensors take at their peak, beyond those that it is given.

    Args:
        held: Tensors that exist before, such as inputs and weights; they must have no gradient.
        action: The function.
        device: Device of its computation. On CUDA the number comes from the allocator.
    """
    if torch.device(device).type == 'cuda':
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    with LiveBytes(held) as live:
        before = live.now
        action()
    return live.peak - before


def peak_bytes(runner: Any, step: Callable[[], Any]) -> int:
    """Run one step and return the largest number of bytes that the tensors of this run took during it.

    On CUDA this is the peak of the allocator minus the bytes that other runs in the process hold.

    Args:
        runner: The runner of the run.
        step: Runs one step of it.
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
