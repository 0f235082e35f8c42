"""All distillers of a run in one module, so that one DistributedDataParallel can hold them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .base import BaseDistiller, Batch, Taps

RawLosses = dict[tuple[str, str], Tensor]
"""Name of the distiller and name of the loss to the unweighted value of shape ``()``."""


@dataclass(frozen=True)
class Term:
    """One loss of one distiller in one iteration.

    Attributes:
        distiller: Name of the distiller in the config.
        name: Name of the loss, one of the distiller's ``loss_names``.
        raw: Unweighted value of shape ``()``.
        weight: Weight of the distiller in this iteration.
        on: Images that the loss is computed on: ``'labelled'`` or ``'unlabelled'``.
    """

    distiller: str
    name: str
    raw: Tensor
    weight: float
    on: str = 'labelled'

    @property
    def key(self) -> str:
        """Key of the term in the loss dict and in the log.

        >>> Term('localization', 'loss_ld', torch.tensor(2.0), 0.5).key
        'distill.localization.loss_ld'
        """
        return f'distill.{self.distiller}.{self.name}'

    @cached_property
    def weighted(self) -> Tensor:
        """Value that is added to the task losses.

        >>> Term('localization', 'loss_ld', torch.tensor(2.0), 0.5).weighted
        tensor(1.)
        """
        return self.raw * self.weight


def check_names(distillers: Mapping[str, BaseDistiller]) -> None:
    """Refuse names of distillers that a module cannot hold, and losses that MMEngine would log and not add.

    Args:
        distillers: Name to distiller.

    Raises:
        ConfigError: Naming the distiller or the loss.
    """
    reserved = set(dir(nn.ModuleDict()))
    for name, distiller in distillers.items():
        if not isinstance(name, str) or not name:
            raise ConfigError(f"distillers: the name {name!r} is not a valid one; use a word such as 'features'")
        if '.' in name:
            raise ConfigError(f"distillers: the name '{name}' contains a dot; use '{name.replace('.', '_')}'")
        if name in reserved:
            raise ConfigError(
                f"distillers: the name '{name}' is that of an attribute of torch's ModuleDict; use '{name}_'"
            )
        silent = next((loss for loss in distiller.loss_names if 'loss' not in loss), None)
        if silent is not None:
            raise ConfigError(
                f"{distiller.key}: {type(distiller).__name__} declares the loss '{silent}', which MMEngine would log "
                f"and not add, because its name does not contain 'loss'; use 'loss_{silent}'"
            )


class DistillerCollection(nn.Module):
    """Several distillers, of which the active ones run.

    Args:
        distillers: Name to distiller.

    Raises:
        ConfigError: If a name of a distiller or of its losses does not fit.
    """

    def __init__(self, distillers: Mapping[str, BaseDistiller]) -> None:
        super().__init__()
        check_names(distillers)
        self.members = nn.ModuleDict(distillers)

    def items(self) -> list[tuple[str, BaseDistiller]]:
        """Return pairs of name and distiller."""
        return [(name, member) for name, member in self.members.items() if isinstance(member, BaseDistiller)]

    def zeros(self, device: torch.device) -> RawLosses:
        """Return 0 for every loss, without a graph."""
        names = [(name, loss) for name, member in self.items() for loss in member.loss_names]
        return {key: torch.zeros((), device=device) for key in names}

    def forward(
        self,
        student_outputs: Mapping[str, Taps],
        teacher_outputs: Mapping[str, Taps],
        batch: Batch,
        active: Collection[str],
        unlabelled: Batch | None = None,
    ) -> RawLosses:
        """Return every unweighted loss.

        Args:
            student_outputs: Distiller name to outputs of the student's taps.
            teacher_outputs: Distiller name to outputs of the teacher's taps.
            batch: The batch.
            active: Names of the distillers to run. The others return a zero that depends on their parameters, so that
                every rank reduces the same gradients.
            unlabelled: The batch of the distillers with ``on='unlabelled'``, where one of them is active.

        Raises:
            ConfigError: If a distiller does not return its declared losses as scalars.
        """
        losses: RawLosses = {}
        for name, member in self.items():
            if name in active:
                seen = unlabelled if member.on == 'unlabelled' and unlabelled is not None else batch
                values = member(student_outputs[name], teacher_outputs[name], seen)
                if set(values) != set(member.loss_names) or any(value.dim() for value in values.values()):
                    shapes = {loss: tuple(value.shape) for loss, value in values.items()}
                    raise ConfigError(
                        f'{member.key}: {type(member).__name__} returned {shapes}; '
                        f'it declares {member.loss_names}, each of shape ()'
                    )
            else:
                zero = sum((param.sum() * 0 for param in member.parameters()), torch.zeros((), device=_device(batch)))
                values = dict.fromkeys(member.loss_names, zero)
            losses.update({(name, loss): values[loss] for loss in member.loss_names})
        return losses


def _device(batch: Batch) -> torch.device:
    inputs = batch.inputs
    while isinstance(inputs, (list, tuple, dict)) and inputs:
        inputs = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs[0]
    return inputs.device if isinstance(inputs, Tensor) else torch.device('cpu')
