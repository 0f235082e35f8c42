"""Selection of the largest values over all ranks."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from torch import Tensor

_BINS = 2**16
"""Bins of each of the two histograms: the upper and the lower half of the 32 bits of a float."""
_UNSIGNED = 2**31 - 1
"""Bits of a float without that of its sign."""


def _threshold_bin(keys: Tensor, counted: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bin of the key of a rank, counted from the largest, and its rank within the bin; shapes (1,)."""
    histogram = torch.zeros(_BINS, dtype=torch.int64, device=keys.device)
    histogram.scatter_add_(0, keys, counted.long())
    all_reduce(histogram)
    from_top = histogram.flip(0).cumsum(0)
    above = (from_top < rank).sum().view(1).clamp(max=_BINS - 1)
    before = torch.where(above > 0, from_top.gather(0, (above - 1).clamp(min=0)), 0)
    return _BINS - 1 - above, rank - before


def largest(values: Tensor, valid: Tensor, ratio: float) -> Tensor:
    """Return which valid values are among the largest of all ranks; every rank must call it.

    With n valid values on all ranks together, those that are at least as large as the value of rank ``ceil(ratio * n)``
    are among them. So values that are equal to this one are all selected, and the result does not depend on how the
    batch is split. Two histograms over the bits of the values find it: no rank sends its values, and no step waits for
    the device.

    Args:
        values: Values >= 0 of any shape, for example probabilities; compared in float32.
        valid: Booleans of the same shape.
        ratio: Share of the valid values, in (0, 1].

    Returns:
        Booleans of the same shape.

    >>> largest(torch.tensor([0.5, 0.9, 0.1, 0.7]), torch.tensor([True, True, True, False]), ratio=0.5)
    tensor([ True,  True, False, False])
    """
    # The bits of floats >= 0, read as integers, have the order of the floats. -0.0 and NaN may have a sign.
    keys = values.detach().float().contiguous().view(torch.int32).long().flatten() & _UNSIGNED
    counted = valid.flatten()
    total = counted.sum().view(1)
    all_reduce(total)
    # The subtraction keeps a product such as 0.01 * 1700, which is 17.000000000000004, from being rounded up.
    rank = (total.double() * ratio - 1e-6).ceil().long()
    upper, rank = _threshold_bin(keys >> 16, counted, rank)
    lower, _ = _threshold_bin(keys & (_BINS - 1), counted & (keys >> 16 == upper), rank)
    return valid & (keys >= upper * _BINS + lower).view(values.shape)
