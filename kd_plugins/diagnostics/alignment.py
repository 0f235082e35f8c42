"""How the gradient of each distillation term lies to that of the task, module by module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Parameters = Sequence[tuple[str, nn.Parameter]]


@dataclass
class Alignment:
    """A term's gradient beside the task's, added up over batches and parameters.

    Attributes:
        task: Squared norm of the task's gradient.
        term: Squared norm of the term's.
        dot: Their scalar product.

    >>> found = Alignment(task=4.0, term=1.0, dot=-1.0)
    >>> found.size, found.cosine
    (0.5, -0.5)
    """

    task: float = 0.0
    term: float = 0.0
    dot: float = 0.0

    @property
    def size(self) -> float:
        """Norm of the term's gradient as a multiple of the task's; NaN where the task has none."""
        return (self.term / self.task) ** 0.5 if self.task else float('nan')

    @property
    def cosine(self) -> float:
        """Cosine between both; NaN where one of them vanishes."""
        return self.dot / (self.term**0.5 * self.task**0.5) if self.term and self.task else float('nan')

    def add(self, other: Alignment) -> None:
        """Add another's sums."""
        self.task, self.term, self.dot = self.task + other.task, self.term + other.term, self.dot + other.dot


Rows = dict[str, Alignment]
"""From module to alignment, in the order of the network."""


def module_of(name: str, depth: int) -> str:
    """Return the first ``depth`` parts of the path of the module that has a parameter.

    >>> module_of('backbone.layer1.0.conv1.weight', 2), module_of('cls_token', 2)
    ('backbone.layer1', 'cls_token')
    """
    return '.'.join((name.rpartition('.')[0] or name).split('.')[:depth])


def gradients(value: Tensor, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor | None]:
    """Return the gradient of a value on each parameter, None where it has none; the graph is kept."""
    if not value.requires_grad:
        return [None] * len(parameters)
    return torch.autograd.grad(value, list(parameters), retain_graph=True, allow_unused=True)


def alignments(task: Tensor, terms: Mapping[str, Tensor], parameters: Parameters, depth: int) -> dict[str, Rows]:
    """Return term to module to alignment on one batch.

    Args:
        task: The sum of the task losses, shape (), with its graph, which is kept.
        terms: Name to term, shape (), with its graph.
        parameters: Names and parameters of the student that learn.
        depth: Parts of a path that name a module.
    """
    learning = [param for _, param in parameters]
    modules = [module_of(name, depth) for name, _ in parameters]
    base = gradients(task, learning)
    squares = [_dot(theirs, theirs) for theirs in base]
    found: dict[str, Rows] = {}
    for term, value in terms.items():
        rows = found.setdefault(term, {})
        for module, ours, theirs, square in zip(modules, gradients(value, learning), base, squares):
            rows.setdefault(module, Alignment()).add(Alignment(square, _dot(ours, ours), _dot(ours, theirs)))
    return found


def total(rows: Iterable[Alignment]) -> Alignment:
    """Return the alignment of several modules as one."""
    found = Alignment()
    for row in rows:
        found.add(row)
    return found


def conflict(rows: Rows, size: float = 1.0, cosine: float = 0.3) -> str | None:
    """Return the module in which a term pulls hardest elsewhere than the task does, if there is one.

    Args:
        rows: Module to alignment.
        size: Least size relative to the task.
        cosine: Greatest cosine.

    >>> conflict({'stem': Alignment(1.0, 4.0, 0.1), 'head': Alignment(1.0, 9.0, 2.9)})
    'stem'
    """
    pulls = {name: row.term for name, row in rows.items() if row.size >= size and row.cosine <= cosine}
    return max(pulls, key=pulls.__getitem__) if pulls else None


def _dot(a: Tensor | None, b: Tensor | None) -> float:
    return 0.0 if a is None or b is None else float(torch.dot(a.flatten().double(), b.flatten().double()))
