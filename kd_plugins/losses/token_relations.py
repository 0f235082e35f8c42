"""Relations between the tokens of an image: those of attention layers (MiniLM) and of features (TRG)."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from ..ops.pair_softmax import divergence, pair_loss, squares
from ..ops.reduction import global_normalizer, to_float
from ..utils.checks import check_choice

RELATIONS = {'query-query': (0, 0), 'key-key': (1, 1), 'value-value': (2, 2), 'query-key': (0, 1)}
"""Name of a relation to the positions of its two parts in queries, keys and values."""


def _heads(x: Tensor, heads: int) -> Tensor:
    """Return vectors of the tokens for each relation head, (N, L, C) to (N * heads, C / heads, L)."""
    return x.unflatten(2, (heads, x.shape[2] // heads)).permute(0, 2, 3, 1).flatten(0, 1)


def token_relation_loss(
    student: Tensor,
    teacher: Tensor,
    heads: int = 1,
    relations: Sequence[str] = ('query-query', 'key-key', 'value-value'),
    valid: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Return the divergence of the relations between tokens in an attention layer (MiniLM, arXiv 2002.10957).

    .. math:: \sum_{(a,b)} \mathrm{mean}_{h,i} \;
        KL\big(softmax_j(a^t_{hi} \cdot b^t_{hj} / \sqrt{d_t}) \,\|\,
        softmax_j(a^s_{hi} \cdot b^s_{hj} / \sqrt{d_s})\big)

    with queries, keys or values a and b of the tokens i and j in head h, of :math:`d` channels. In the first version
    (a, b) are query and key, and value and value, in the heads of the networks. The second (arXiv 2012.15828) has
    the three pairs of equal parts, divided into any number of relation heads, so that both networks may have
    other heads and widths. The mean is that over the tokens of all ranks that count. Every rank must call it.

    Args:
        student: Output of the layer that makes queries, keys and values, one after another: shape (N, L, 3 * C).
        teacher: The same of the teacher, with its own C; no gradient goes through it.
        heads: Number of relation heads, a divisor of both C.
        relations: Names of pairs, of :data:`RELATIONS`.
        valid: Booleans, shape (N, L), False at tokens on padding; None: no padding.
        chunk: See :func:`kd_plugins.ops.pair_softmax.pair_loss`.

    Returns:
        Shape ().

    Raises:
        ConfigError: If a relation is none of these.

    >>> x = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    >>> token_relation_loss(x, x), token_relation_loss(0 * x, x)
    (tensor(0.), tensor(0.3278))
    """
    for name in relations:
        check_choice('relations', name, tuple(RELATIONS))
    counted = torch.ones(student.shape[:2], dtype=torch.bool, device=student.device) if valid is None else valid
    weight = counted.to(to_float(student).dtype).repeat_interleave(heads, dim=0)
    columns_valid = weight[:, None] > 0
    # Vectors on padding are 0, so that they do not count however large they were.
    parts = [
        [_heads(part, heads) * weight[:, None] for part in to_float(x).chunk(3, dim=2)]
        for x in (student, teacher.detach())
    ]
    totals = []
    for first, second in (RELATIONS[name] for name in relations):
        sides = [(x[first] / sqrt(x[first].shape[1]), x[second][:, None]) for x in parts]
        totals.append(pair_loss(sides[0], sides[1], columns_valid, weight, divergence, chunk))
    return torch.stack(totals).sum() / global_normalizer(weight.sum(), minimum=1.0)


def context_loss(student: Tensor, teacher: Tensor, valid: Tensor | None = None, chunk: int | None = None) -> Tensor:
    r"""Return the squared difference of the relations between the positions of an image (TRG, arXiv 2306.12442).

    .. math:: \mathrm{mean}_n \frac{1}{|V_n|^2} \sum_{i,j \in V_n}
        \big(softmax_j(t_{ni} \cdot t_{nj} / \sqrt{D_t}) - softmax_j(s_{ni} \cdot s_{nj} / \sqrt{D_s})\big)^2

    with features of :math:`D` channels at the positions i and j of image n. It is the contextual term of the method,
    which has three. The mean is that over the images of all ranks. Every rank must call it.

    Args:
        student: Maps, shape (N, D, ...).
        teacher: Maps with the same positions; the number of channels may differ. No gradient goes through them.
        valid: Booleans, shape (N, ...), False on padding; None: no padding.
        chunk: See :func:`kd_plugins.ops.pair_softmax.pair_loss`.

    Returns:
        Shape ().

    >>> x = torch.tensor([[[3.0, -3.0]]])
    >>> context_loss(x, x), context_loss(0 * x, x)
    (tensor(0.), tensor(0.2500))
    """
    s, t = (to_float(x).flatten(2) for x in (student, teacher.detach()))
    counted = torch.ones_like(s[:, 0], dtype=torch.bool) if valid is None else valid.flatten(1)
    weight = counted.to(s.dtype)
    s, t = (x * weight[:, None] for x in (s, t))
    sides = [(x / sqrt(max(x.shape[1], 1)), x[:, None]) for x in (s, t)]
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1.0).square()
    total = pair_loss(sides[0], sides[1], counted[:, None], weight, squares, chunk)
    return total / global_normalizer(total.new_full((), len(s)), minimum=1.0)
