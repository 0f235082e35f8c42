"""Compare the gradient of each distillation term with that of the task, module by module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Parameters = Sequence[tuple[str, nn.Parameter]]


@dataclass
class Alignment:
    """Norms and scalar product of the gradients of a term and of the task, summed over batches and parameters.

    Attributes:
        task: Squared norm of the task's gradient.
        term: Squared norm of the term's gradient.
        dot: Scalar product of both gradients.

    >>> alignment = Alignment(task=4.0, term=1.0, dot=-1.0)
    >>> alignment.size, alignment.cosine
    (0.5, -0.5)
    """

    task: float = 0.0
    term: float = 0.0
    dot: float = 0.0

    @property
    def size(self) -> float:
        """Norm of the term's gradient divided by that of the task's; NaN where the task has no gradient."""
        return (self.term / self.task) ** 0.5 if self.task else float('nan')

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both gradients; NaN where one of them is 0."""
        return self.dot / (self.term**0.5 * self.task**0.5) if self.term and self.task else float('nan')

    def add(self, other: Alignment) -> None:
        """Add the sums of another alignment."""
        self.task, self.term, self.dot = self.task + other.task, self.term + other.term, self.dot + other.dot


Rows = dict[str, Alignment]
"""Module to alignment, in the order of the network."""


def module_of(name: str, depth: int) -> str:
    """Return the path of the module that owns a parameter, cut to its first ``depth`` parts.

    >>> module_of('backbone.layer1.0.conv1.weight', 2), module_of('cls_token', 2)
    ('backbone.layer1', 'cls_token')
    """
    return '.'.join((name.rpartition('.')[0] or name).split('.')[:depth])


def gradients(value: Tensor, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor | None]:
    """Return the gradient of a value with respect to each parameter, ``None`` where there is none; keep the graph."""
    if not value.requires_grad:
        return [None] * len(parameters)
    return torch.autograd.grad(value, list(parameters), retain_graph=True, allow_unused=True)


def alignments(task: Tensor, terms: Mapping[str, Tensor], parameters: Parameters, depth: int) -> dict[str, Rows]:
    """Return term to module to alignment on one batch.

    Args:
        task: The sum of the task losses, shape (), with its graph, which is kept.
        terms: Name to term, shape (), with its graph.
        parameters: Names and trainable parameters of the student.
        depth: Number of parts of a path that name a module.
    """
    trainable = [param for _, param in parameters]
    modules = [module_of(name, depth) for name, _ in parameters]
    task_gradients = gradients(task, trainable)
    squares = [_dot(gradient, gradient) for gradient in task_gradients]
    result: dict[str, Rows] = {}
    for term, value in terms.items():
        rows = result.setdefault(term, {})
        for module, of_term, of_task, square in zip(modules, gradients(value, trainable), task_gradients, squares):
            rows.setdefault(module, Alignment()).add(Alignment(square, _dot(of_term, of_term), _dot(of_term, of_task)))
    return result


def total(rows: Iterable[Alignment]) -> Alignment:
    """Return the sum of the alignments of several modules."""
    result = Alignment()
    for row in rows:
        result.add(row)
    return result


def conflict(rows: Rows, size: float = 1.0, cosine: float = 0.3) -> str | None:
    """Return the module with the strongest gradient conflict, or ``None``.

    A term conflicts with the task where its gradient is large and does not point in the same direction.

    Args:
        rows: Module to alignment.
        size: Smallest relative size of a conflicting gradient.
        cosine: Largest cosine of a conflicting gradient.

    >>> conflict({'stem': Alignment(1.0, 4.0, 0.1), 'head': Alignment(1.0, 9.0, 2.9)})
    'stem'
    """
    conflicts = {name: row.term for name, row in rows.items() if row.size >= size and row.cosine <= cosine}
    return max(conflicts, key=conflicts.__getitem__) if conflicts else None


def _dot(a: Tensor | None, b: Tensor | None) -> float:
    return 0.0 if a is None or b is None else float(torch.dot(a.flatten().double(), b.flatten().double()))
