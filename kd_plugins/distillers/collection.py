"""All distillers of a run as one module, so that one DistributedDataParallel can hold them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .base import BaseDistiller, Batch, Taps


def loss_key(name: str, loss_name: str) -> str:
    """Return the key under which a loss appears in the log.

    >>> loss_key('localization', 'loss_ld')
    'distill.localization.loss_ld'
    """
    return f'distill.{name}.{loss_name}'


class DistillerSet(nn.Module):
    """Run the active ones of several distillers.

    Args:
        distillers: Name to distiller.
    """

    def __init__(self, distillers: Mapping[str, BaseDistiller]) -> None:
        super().__init__()
        self.members = nn.ModuleDict(distillers)

    def items(self) -> list[tuple[str, BaseDistiller]]:
        """Return pairs of name and distiller."""
        return [(name, member) for name, member in self.members.items() if isinstance(member, BaseDistiller)]

    def loss_keys(self) -> list[str]:
        """Return every loss key, active or not."""
        return [loss_key(name, loss) for name, member in self.items() for loss in member.loss_names]

    def forward(
        self, student: Mapping[str, Taps], teacher: Mapping[str, Taps], batch: Batch, active: Collection[str]
    ) -> dict[str, Tensor]:
        """Return every raw loss by key.

        Args:
            student: Distiller name to the student's taps.
            teacher: Distiller name to the teacher's taps.
            batch: The batch.
            active: Names of the distillers to run; the others give a zero that touches their parameters, so that every
                rank reduces the same gradients.

        Raises:
            ConfigError: If a distiller does not return its declared losses as scalars.
        """
        losses: dict[str, Tensor] = {}
        for name, member in self.items():
            if name in active:
                found = member(student[name], teacher[name], batch)
                if set(found) != set(member.loss_names) or any(value.dim() for value in found.values()):
                    shapes = {loss: tuple(value.shape) for loss, value in found.items()}
                    raise ConfigError(
                        f'{member.key}: {type(member).__name__} returned {shapes}; '
                        f'it declares {member.loss_names}, each of shape ()'
                    )
            else:
                zero = sum((param.sum() * 0 for param in member.parameters()), torch.zeros((), device=_device(batch)))
                found = dict.fromkeys(member.loss_names, zero)
            losses.update({loss_key(name, loss): found[loss] for loss in member.loss_names})
        return losses


def _device(batch: Batch) -> torch.device:
    inputs = batch.inputs
    while isinstance(inputs, (list, tuple, dict)) and inputs:
        inputs = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs[0]
    return inputs.device if isinstance(inputs, Tensor) else torch.device('cpu')
