"""Places of a network's tensors, and the update of one network by another with lists that are made once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class TensorSlot(NamedTuple):
    """Place of a parameter or buffer in its module.

    A tensor is looked up at every use, since a module may replace a buffer by a new tensor.
    """

    owner: Mapping[str, Any]
    name: str

    @property
    def tensor(self) -> Tensor:
        """The tensor that is there now."""
        value: Tensor = self.owner[self.name]
        return value


def tensor_slots(module: nn.Module, unique: bool = True) -> dict[str, TensorSlot]:
    """Return the places of all parameters and persistent buffers by name.

    Args:
        module: The network.
        unique: Whether a tensor with several names, as in heads with shared layers, is listed under the first alone.

    >>> layer = nn.Linear(2, 1)
    >>> list(tensor_slots(nn.Sequential(layer, nn.ReLU(), layer)))
    ['0.weight', '0.bias']
    """
    slots: dict[str, TensorSlot] = {}
    listed: set[int] = set()
    for path, member in module.named_modules(remove_duplicate=unique):
        prefix = f'{path}.' if path else ''
        volatile = member._non_persistent_buffers_set
        for owner in (member._parameters, member._buffers):
            for name, tensor in owner.items():
                if tensor is None or name in volatile or (unique and id(tensor) in listed):
                    continue
                listed.add(id(tensor))
                slots[f'{prefix}{name}'] = TensorSlot(owner, name)
    return slots


class NetworkPair:
    """Tensors of two networks of equal structure, the second of which changes the first.

    Args:
        target: The network that changes.
        source: The network whose tensors it is averaged with, or copied from.
    """

    def __init__(self, target: nn.Module, source: nn.Module) -> None:
        self.source = source
        others = tensor_slots(source, unique=False)
        pairs = [(slot, others[name]) for name, slot in tensor_slots(target).items()]
        self._floating = [pair for pair in pairs if pair[0].tensor.is_floating_point()]
        self._others = [pair for pair in pairs if not pair[0].tensor.is_floating_point()]

    @torch.no_grad()
    def average(self, weight: float) -> None:
        """Move the floating-point tensors by ``weight`` towards the source, and copy the others.

        Args:
            weight: Share of the source, in (0, 1].
        """
        _copy(self._others)
        if weight == 1:
            _copy(self._floating)
        elif self._floating:
            targets, sources = _tensors(self._floating)
            torch._foreach_lerp_(targets, sources, weight)

    def copy(self) -> None:
        """Copy all tensors from the source."""
        self.average(1)


def _tensors(pairs: list[tuple[TensorSlot, TensorSlot]]) -> tuple[list[Tensor], list[Tensor]]:
    targets = [owner[name] for (owner, name), _ in pairs]
    sources = [owner[name] for _, (owner, name) in pairs]
    return targets, sources


def _copy(pairs: list[tuple[TensorSlot, TensorSlot]]) -> None:
    targets, sources = _tensors(pairs)
    if pairs and hasattr(torch, '_foreach_copy_'):
        torch._foreach_copy_(targets, sources)
    else:
        for target, source in zip(targets, sources):
            target.copy_(source)
