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

    Parameters are listed once. Buffers are looked up at every use.

    Args:
        target: The network that changes.
        source: The network whose tensors it is averaged with, or copied from.
    """

    def __init__(self, target: nn.Module, source: nn.Module) -> None:
        self.source = source
        others = tensor_slots(source, unique=False)
        pairs = [(slot, others[name]) for name, slot in tensor_slots(target).items()]
        params = [pair for pair in pairs if isinstance(pair[0].tensor, nn.Parameter)]
        self._params = [slot.tensor for slot, _ in params], [slot.tensor for _, slot in params]
        buffers = [pair for pair in pairs if not isinstance(pair[0].tensor, nn.Parameter)]
        self._floating = _slots([pair for pair in buffers if pair[0].tensor.is_floating_point()])
        self._others = _slots([pair for pair in buffers if not pair[0].tensor.is_floating_point()])

    @torch.no_grad()
    def average(self, weight: float) -> None:
        """Move the floating-point tensors by ``weight`` towards the source, and copy the others.

        Args:
            weight: Share of the source, in (0, 1].
        """
        targets, sources = (
            [*params, *[owner[name] for owner, name in slots]] for params, slots in zip(self._params, self._floating)
        )
        if weight == 1:
            _copy(targets, sources)
        elif targets:
            torch._foreach_lerp_(targets, sources, weight)
        _copy(*([owner[name] for owner, name in slots] for slots in self._others))

    def copy(self) -> None:
        """Copy all tensors from the source."""
        self.average(1)


Slots = tuple[list[TensorSlot], list[TensorSlot]]


def _slots(pairs: list[tuple[TensorSlot, TensorSlot]]) -> Slots:
    return [target for target, _ in pairs], [source for _, source in pairs]


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    if targets and hasattr(torch, '_foreach_copy_'):
        torch._foreach_copy_(targets, sources)
    else:
        for target, source in zip(targets, sources):
            target.copy_(source)
