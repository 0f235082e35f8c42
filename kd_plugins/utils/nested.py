"""Tensors within lists, tuples and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


def map_tensors(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """Return a value whose tensors are replaced, within lists, tuples, named tuples and mappings of any depth.

    Mappings become dicts. Anything else, such as a data sample, is returned as it is.

    Args:
        value: The value.
        function: Gives the replacement of a tensor.

    >>> import torch
    >>> map_tensors({'a': [torch.ones(1), (None, torch.zeros(1))]}, torch.neg)
    {'a': [tensor([-1.]), (None, tensor([-0.]))]}
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(entry, function) for key, entry in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    entries = [map_tensors(entry, function) for entry in value]
    if isinstance(value, list):
        return entries
    return type(value)(*entries) if hasattr(value, '_fields') else tuple(entries)


__all__ = ['map_tensors']
