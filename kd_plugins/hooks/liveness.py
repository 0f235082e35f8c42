"""Proof that distillation acts: every term reaches a parameter of the student."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ..distillers.base import BaseDistiller, Taps
from ..distillers.collection import Term
from ..errors import ConfigError

PATIENCE = 100
"""Number of iterations in which a term may be a constant 0, as a distiller may return for a batch without objects."""
REENTRANT = 'CheckpointFunctionBackward'
"""Node of a region with activation checkpointing. Its parameters are not part of the graph."""


def nodes_of(tensor: Tensor) -> Iterator[Any]:
    """Yield the nodes of the graph of a tensor, each once.

    The graph is walked, not run: that takes milliseconds and draws no random numbers.

    Args:
        tensor: The tensor; one without a graph has no node.
    """
    waiting: list[Any] = [tensor.grad_fn]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        yield node
        for following, _ in node.next_functions:
            if following not in seen:
                seen.add(following)
                waiting.append(following)


def reaches(term: Tensor, parameters: Iterable[nn.Parameter]) -> bool:
    """Return whether the graph of a tensor leads to one of the parameters.

    This works with every kind of activation checkpointing. An output of a checkpointed region counts as reached.

    >>> import torch
    >>> layer = nn.Linear(2, 1)
    >>> out = layer(torch.ones(2)).sum()
    >>> reaches(out, layer.parameters()), reaches(out.detach(), layer.parameters())
    (True, False)
    """
    wanted = {id(parameter) for parameter in parameters}
    if id(term) in wanted:
        return True
    return any(id(getattr(node, 'variable', None)) in wanted or node.name() == REENTRANT for node in nodes_of(term))


class Liveness:
    """Check of a run's first iterations; it stops the run where distillation would silently teach nothing.

    Args:
        student: The student.
        distillers: Name to distiller.
    """

    def __init__(self, student: nn.Module, distillers: Mapping[str, BaseDistiller]) -> None:
        self._student = student
        self._distillers = dict(distillers)
        self._waiting = dict.fromkeys(distillers, PATIENCE)
        self._counts: dict[tuple[str, str, str], int] = {}

    @property
    def proven(self) -> bool:
        """Whether every term has been seen to reach the student."""
        return not self._waiting

    def check_taps(self, outputs: Mapping[str, Taps]) -> None:
        """Refuse distillers whose taps on the student all lack a gradient, at their first batch.

        Args:
            outputs: Name of the distiller to the outputs of its taps on the student.

        Raises:
            ConfigError: Naming the taps and the usual causes.
        """
        for name, taps in outputs.items():
            distiller = self._distillers[name]
            tensors = [tensor for members in taps.values() for tensor in members]
            if distiller.schedule.value > 0 and tensors and not any(tensor.requires_grad for tensor in tensors):
                paths = ', '.join(f"'{path}'" for path in dict.fromkeys(distiller.student_taps().values()))
                raise ConfigError(
                    f'{distiller.key}: the student has no gradient at {paths}, so it would learn nothing there: the '
                    'layers are frozen (frozen_stages, requires_grad), or lie inside a region with activation '
                    'checkpointing (with_cp), whose output can be tapped instead'
                )

    def check_counts(self, role: str, outputs: Mapping[str, Taps]) -> None:
        """Refuse a tap that gives another number of tensors than in the first pass, from which the adapters are made.

        A tap whose module may rest counts only where it ran.

        Args:
            role: ``'student'`` or ``'teacher'``.
            outputs: Name of the distiller to the outputs of its taps.

        Raises:
            ConfigError: Naming the tap and both numbers.
        """
        for name, taps in outputs.items():
            for alias, tensors in taps.items():
                if not tensors and alias in self._distillers[name].may_rest:
                    continue
                first = self._counts.setdefault((role, name, alias), len(tensors))
                if len(tensors) != first:
                    raise ConfigError(
                        f'{self._distillers[name].key}.{alias}: the {role} gave {len(tensors)} tensors, and {first} in '
                        'the first pass; tap layers that run equally often in every forward pass'
                    )

    def check_terms(self, terms: Iterable[Term]) -> None:
        """Prove for each distiller, once its weight is above 0, that its terms reach the student.

        Args:
            terms: The terms of the distillers that ran.

        Raises:
            ConfigError: Naming the first term that does not.
        """
        by_distiller: dict[str, list[Term]] = {}
        for term in terms:
            if term.weight > 0 and term.distiller in self._waiting:
                by_distiller.setdefault(term.distiller, []).append(term)
        parameters = [param for param in self._student.parameters() if param.requires_grad] if by_distiller else []
        for name, members in by_distiller.items():
            constant = [term for term in members if not term.raw.requires_grad]
            if constant:
                self._waiting[name] -= 1
                # A batch without objects may give a plain 0. Another constant cannot become a loss.
                if float(constant[0].raw) == 0 and self._waiting[name] > 0:
                    continue
            isolated = [term for term in members if not reaches(term.raw, parameters)]
            if isolated:
                raise ConfigError(
                    f"'{isolated[0].key}' depends on no parameter of the student that is trained, so it would teach "
                    f'nothing; check that {self._distillers[name].key} detaches no output of the student and that the '
                    'layers before its taps are not frozen'
                )
            del self._waiting[name]
