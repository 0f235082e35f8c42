"""Run a network on a scratch copy of its state, so that a forward pass leaves no trace in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

SHARED = ('_hooks', '_hooks_with_kwargs', '_hooks_always_called')
"""Ends of the names of attributes that stay as they are: the hooks of a module."""
TENSORS = ('_parameters', '_buffers')
"""Attributes that hold the parameters and buffers of a module."""


@contextmanager
def scratch_state(model: nn.Module, tensors: bool = True) -> Iterator[None]:
    """Give every module a copy of its state, and put the original state back at the end.

    A forward pass in train mode may change running statistics, momentum encoders, counters, the thresholds of assigners
    and whatever else hangs on a module. The originals are the same objects afterwards, bit for bit, so that optimizers
    and DistributedDataParallel still refer to them. Modules and hooks are not copied: functions that are bound to a
    module, as activation checkpointing sets them, work on the copy of its state. An attribute that cannot be copied,
    such as a process group, stays.

    The copies of the parameters need as much memory as the parameters, which is less than a training step takes.

    Args:
        model: The network.
        tensors: Whether parameters and buffers are copied, too. Otherwise they stay in use, and only other attributes,
            such as counters, are those of before at the end.

    >>> import torch
    >>> norm = nn.BatchNorm1d(2)
    >>> with scratch_state(norm):
    ...     _ = norm(torch.ones(3, 2))
    ...     print(norm.num_batches_tracked)
    tensor(1)
    >>> norm.num_batches_tracked
    tensor(0)
    """
    originals = [(module, dict(vars(module))) for module in model.modules()]
    shared = SHARED if tensors else (*SHARED, *TENSORS)
    # Equal objects keep one copy, and a reference to a module stays one.
    memo: dict[int, Any] = {id(module): module for module, _ in originals}
    try:
        for module, state in originals:
            vars(module).update({name: _copied(name, value, memo, shared) for name, value in state.items()})
        yield
    finally:
        for module, state in originals:
            vars(module).clear()
            vars(module).update(state)


def _copied(name: str, value: Any, memo: dict[int, Any], shared: tuple[str, ...]) -> Any:
    if name.endswith(shared) or isinstance(value, nn.Module):
        return value
    try:
        return copy.deepcopy(value, memo)
    # An object may refuse to be copied in any way.
    except Exception:
        return value
