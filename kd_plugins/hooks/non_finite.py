"""Stop a run whose distillation terms became NaN or infinite, on every rank and before a checkpoint is saved."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import all_reduce, is_distributed
from torch import Tensor

from ..distillers.base import Batch
from ..errors import NonFiniteLossError
from .observer import StepReport
from .task_losses import UNTAUGHT
from .term_log import image_names

PATIENCE = 10
"""Number of iterations in a row that a loss scaler may skip before the run stops."""


class NonFiniteGuard:
    """Check of all terms of an iteration, whatever its number of forward passes.

    Task losses with the factor 0 are checked as well, because their graph is part of the loss: 0 times NaN is NaN.
    """

    def __init__(self) -> None:
        self._checks = False
        self._passes: list[tuple[Tensor, list[tuple[str, Batch]]]] = []
        self._in_a_row = 0

    def add(self, report: StepReport) -> None:
        """Keep the values of one forward pass.

        Args:
            report: Report of the pass.
        """
        if report.terms:
            parts = [(term.key, term.raw, report.batch_of(term)) for term in report.terms]
            if report.untaught is not None:
                parts.append((UNTAUGHT, report.untaught, report.batch))
            self._checks = True
            values = torch.stack([value.detach() for _, value, _ in parts])
            self._passes.append((values, [(key, batch) for key, _, batch in parts]))

    def check(self, iteration: int, scaler: Any = None) -> str | None:
        """Check the passes since the last check, with one transfer to the host and one reduction over ranks.

        Args:
            iteration: 0-based iteration.
            scaler: The GradScaler of the run, which skips steps with gradients that are not finite, or ``None``.

        Returns:
            A warning where the scaler has skipped the step.

        Raises:
            NonFiniteLossError: On every rank, if a term of one rank is not finite; with a scaler after
                :data:`PATIENCE` iterations in a row.
        """
        if not self._checks:
            return None
        passes, self._passes = self._passes, []
        flags = [~values.isfinite().all() for values, _ in passes]
        broken = torch.stack(flags).any().float() if flags else torch.zeros(())
        if is_distributed():
            # Ranks that went on alone would wait for the others for ever.
            all_reduce(broken, op='max')
        if not broken:
            self._in_a_row = 0
            return None
        self._in_a_row += 1
        key, sentence = _first_fault(passes, iteration + 1)
        if scaler is not None and self._in_a_row < PATIENCE:
            return f'{sentence}; the loss scaler skips this step'
        skipped = f', {self._in_a_row} times in a row' if scaler is not None else ''
        raise NonFiniteLossError(f'{sentence}{skipped}; the newest checkpoint is untouched: {_remedy(key)}')


def _first_fault(passes: list[tuple[Tensor, list[tuple[str, Batch]]]], iteration: int) -> tuple[str, str]:
    """Return the key of the first value that is not finite, empty where it is another rank's, and the sentence."""
    for values, parts in passes:
        for (key, batch), value in zip(parts, values.tolist(), strict=True):
            if not math.isfinite(value):
                name = f"'{key}'" + (', the task losses with the factor 0,' if key == UNTAUGHT else '')
                return key, f'{name} became {value} at iteration {iteration} on the images {image_names(batch)}'
    return '', f'a distillation term of another rank became NaN or infinite at iteration {iteration}'


def _remedy(key: str) -> str:
    if key == UNTAUGHT:
        return 'the graph of these losses is kept, so leave out images that the model has no finite loss for'
    return 'lower its weight or the learning rate and resume'
