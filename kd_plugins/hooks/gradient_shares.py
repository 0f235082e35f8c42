"""Measure the share of a distiller's gradient, for weights that follow it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor

from ..distillers.base import BaseDistiller
from ..distillers.collection import Term
from ..errors import CheckpointError, ConfigError
from ..schedules import GradientShare
from ..tap_paths import TapPath
from ..utils.build import first_line
from .task_weights import TaskWeights
from .unlabelled import Unlabelled

WEIGHTS = 'weights'
"""Key of the state of the weights in ``checkpoint['distill']``."""
SCALE = 1024.0
"""Factor on both losses, so that their gradients do not vanish in half precision; it cancels in the share."""


def check_shares(
    distillers: Mapping[str, BaseDistiller], unlabelled: Unlabelled | None, task_weights: TaskWeights
) -> None:
    """Refuse a GradientShare that would measure nothing.

    Args:
        distillers: Name to distiller.
        unlabelled: The unlabelled images, or ``None``.
        task_weights: Factors of the task losses.

    Raises:
        ConfigError: Naming the weight.
    """
    if unlabelled is not None and isinstance(unlabelled.schedule, GradientShare):
        raise ConfigError('unlabelled.weight is a GradientShare, which is the weight of one distiller; use a number')
    for one in distillers.values():
        if not isinstance(one.schedule, GradientShare):
            continue
        key = f'{one.key}.weight'
        if one.on != 'labelled':
            raise ConfigError(f"{key} is a GradientShare, and unlabelled images have no task loss; use on='labelled'")
        if task_weights.always_zero:
            raise ConfigError(f'{key} is a GradientShare, and task_weight is 0, so there is no other gradient')


def check_copies(distillers: Mapping[str, BaseDistiller]) -> None:
    """Refuse a GradientShare at a copy of a tensor, through which no task loss goes, and at parameters.

    Args:
        distillers: Name to distiller, each of which has seen its models.

    Raises:
        ConfigError: Naming the weight and the tap.
    """
    for one in distillers.values():
        if isinstance(one.schedule, GradientShare):
            taps = {path: TapPath.parse(path, one.key) for path in one.student_taps().values()}
            copies = [path for path, tap in taps.items() if tap.copy]
            parameters = [path for path, tap in taps.items() if tap.parameters]
            if parameters:
                raise ConfigError(
                    f"{one.key}.weight is a GradientShare, and '{parameters[0]}' names parameters, whose gradients of "
                    'different ranks are averaged before they count; use a number'
                )
            if copies:
                raise ConfigError(
                    f"{one.key}.weight is a GradientShare, and '{copies[0]}' records a copy, through which no gradient "
                    'of the task goes; use a number'
                )


def squared_norm(loss: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Return the squared norm of a loss's gradient at some tensors of its graph, which is kept; shape ().

    Args:
        loss: Value of shape ().
        tensors: Tensors of the graph; those without gradient count 0.

    >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> squared_norm(x.square().sum() / 2 / SCALE, [x])
    tensor(25.)
    """
    inputs = [tensor for tensor in tensors if tensor.requires_grad]
    zero = torch.zeros((), device=loss.device)
    if not inputs or not loss.requires_grad:
        return zero
    gradients = torch.autograd.grad(loss * SCALE, inputs, retain_graph=True, allow_unused=True)
    return sum((one.detach().float().square().sum() for one in gradients if one is not None), zero)


class GradientShares:
    """Distillers whose weight follows the share of their gradient.

    Args:
        distillers: Name to distiller.
    """

    def __init__(self, distillers: Mapping[str, BaseDistiller]) -> None:
        self.schedules = {
            name: one.schedule for name, one in distillers.items() if isinstance(one.schedule, GradientShare)
        }
        """Name of each such distiller to its weight."""
        self._warned: set[str] = set()

    def due(self, iteration: int, running: Collection[str]) -> list[str]:
        """Return the names of the distillers that are measured in an iteration, the same on all ranks.

        Args:
            iteration: 0-based iteration of the run.
            running: Names of the distillers that run.
        """
        return [name for name, one in self.schedules.items() if name in running and one.measures(iteration)]

    def measure(self, task: Tensor, terms: Sequence[Term], tensors: Mapping[str, Sequence[Tensor]]) -> None:
        """Measure the shares and tell them to the weights; every rank must call it.

        The norms are those of the whole batch: their squares are summed over ranks, of which each has a part of the
        tapped tensors.

        Args:
            task: Sum of the weighted task losses, with its graph.
            terms: All terms, with their graphs.
            tensors: Name of the distiller to the outputs of its taps on the student.

        Raises:
            ConfigError: If the gradient cannot be taken, as through a region with activation checkpointing.
        """
        squares = []
        for name, tapped in tensors.items():
            zero = torch.zeros((), device=task.device)
            loss = sum((term.weighted for term in terms if term.distiller == name), zero)
            try:
                squares += [squared_norm(loss, tapped), squared_norm(task, tapped)]
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise ConfigError(
                    f'distillers.{name}.weight: the gradient at the taps cannot be measured ({first_line(error)}); '
                    'activation checkpointing (with_cp) and compiled layers behind the taps are the usual causes; '
                    'use a number as weight'
                ) from error
        total = torch.stack(squares)
        all_reduce(total)
        norms = total.double().sqrt().view(-1, 2)
        for name, share in zip(tensors, (norms[:, 0] / norms.sum(1)).tolist()):
            self.schedules[name].observe(share)
            if not 0 < share < 1 and name not in self._warned:
                self._warned.add(name)
                message = (
                    f'distillers.{name}.weight: the share of the gradient at the taps is {share:g}, and it '
                    'is left out; where it is always so, the task does not depend on what is tapped: use a number'
                )
                print_log(message, 'current', logging.WARNING)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every weight by the name of its distiller."""
        return {name: one.state_dict() for name, one in self.schedules.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the weights; one without a state starts at its ``value``.

        Args:
            state: Result of :meth:`state_dict`.

        Raises:
            CheckpointError: If the state is damaged.
        """
        for name, one in self.schedules.items():
            one.reset()
            if name in state:
                try:
                    one.load_state_dict(state[name])
                except (KeyError, TypeError, ValueError) as error:
                    raise CheckpointError(
                        f'distillers.{name}.weight: the state of GradientShare in the resumed checkpoint is damaged '
                        f'({type(error).__name__}); start a new run with load_from'
                    ) from error
