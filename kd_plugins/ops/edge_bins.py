"""Discrete edge positions of D-FINE: offsets in reference sizes over non-uniform bins (arXiv 2410.13842).

A box is written as a reference box plus one offset per edge (left, top, right, bottom, positive outwards). An offset of
``reg_scale`` moves its edge by one width or height of the reference box.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError
from ..utils.checks import check_number
from .reduction import to_float

SMALLEST_SIDE = 1e-16
"""Side of a reference box, divided by ``reg_scale``, that replaces smaller ones, so that offsets are finite."""


def weighting_function(
    reg_max: int, up: float = 0.5, reg_scale: float = 4.0, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    r"""Return the offset of each bin: dense around 0, with one distant bin at either end.

    .. math::
        \kappa = (u s + 1)^{2 / (N - 2)}, \quad
        W(n) = \begin{cases}
            -2 u s & n = 0 \\
            1 - \kappa^{N/2 - n} & 0 < n \le N/2 \\
            \kappa^{n - N/2} - 1 & N/2 < n < N \\
            2 u s & n = N
        \end{cases}

    with :math:`N` = ``reg_max``, :math:`u` = ``up`` and :math:`s` = ``reg_scale``. This is :math:`s` times W(n) of
    arXiv 2410.13842, section 4.1, as in the authors' release (``src/zoo/dfine/dfine_utils.py``).

    Args:
        reg_max: :math:`N`, even and at least 4.
        up: :math:`u` > 0. An edge can move by at most twice this value, in sizes of the reference box.
        reg_scale: :math:`s` > 0. Larger values make the bins around 0 denser relative to the range.
        dtype: Dtype of the result, which is computed in float64.

    Returns:
        Shape (reg_max + 1,), ascending and antisymmetric.

    Raises:
        ConfigError: If an argument is outside its range.

    >>> weighting_function(4, up=0.5, reg_scale=4.0)
    tensor([-4., -2.,  0.,  2.,  4.])
    """
    if reg_max < 4 or reg_max % 2:
        even = max(4, int(reg_max) // 2 * 2)
        raise ConfigError(f'reg_max is {reg_max!r}; it must be an even number of at least 4, nearest: {even}')
    check_number('up', up, positive=True, example=0.5)
    check_number('reg_scale', reg_scale, positive=True, example=4.0)
    half = reg_max // 2
    inner = (up * reg_scale + 1.0) ** (torch.arange(half, dtype=torch.float64) * (2.0 / (reg_max - 2))) - 1.0
    right = torch.cat([inner[1:], inner.new_tensor([2.0 * up * reg_scale])])
    return torch.cat([-right.flip(0), inner[:1], right]).to(dtype)


def expected_offsets(logits: Tensor, bins: Tensor) -> Tensor:
    r"""Return the mean offset of every edge, :math:`\sum_n softmax(z)_n W(n)` (arXiv 2410.13842, eq. 1).

    Args:
        logits: Shape (..., 4, N + 1).
        bins: Shape (N + 1,), from :func:`weighting_function`.

    Returns:
        Shape (..., 4), float32 (float64 for float64).

    >>> expected_offsets(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 30.0]]), torch.tensor([-1.0, 0.0, 1.0]))
    tensor([0., 1.])
    """
    # A matrix product would be cast down inside autocast.
    probability = to_float(logits).softmax(dim=-1)
    return (probability * bins.to(probability)).sum(dim=-1)


def refine_boxes(reference: Tensor, offsets: Tensor, reg_scale: float) -> Tensor:
    r"""Move the edges of reference boxes.

    .. math:: x_1 = x - (s / 2 + d_l) \, w / s, \quad x_2 = x + (s / 2 + d_r) \, w / s

    and likewise for y with t, b and h (arXiv 2410.13842, section 4.1). Opposite edges may cross, so that the width or
    height becomes negative; it is not clamped.

    Args:
        reference: (cx, cy, w, h), shape (..., 4), in any unit.
        offsets: Left, top, right, bottom, shape (..., 4); leading dimensions broadcast.
        reg_scale: :math:`s`, see :func:`weighting_function`.

    Returns:
        (cx, cy, w, h) in the unit of ``reference``, shape (..., 4), at least float32.

    >>> refine_boxes(torch.tensor([0.5, 0.5, 0.2, 0.2]), torch.tensor([2.0, 0.0, 0.0, 0.0]), reg_scale=4.0)
    tensor([0.4500, 0.5000, 0.3000, 0.2000])
    """
    reference, offsets = to_float(reference), to_float(offsets)
    step = reference[..., 2:] / reg_scale
    near, far = offsets[..., :2], offsets[..., 2:]
    return torch.cat([reference[..., :2] + (far - near) * step / 2, (reg_scale + near + far) * step], dim=-1)


@torch.no_grad()
def edge_targets(reference: Tensor, corners: Tensor, bins: Tensor, reg_scale: float) -> tuple[Tensor, Tensor]:
    r"""Return the positions of the edges of ``corners`` between the bins of ``reference``: the inverse of decoding.

    .. math:: t_l = (x - x_1) \, s / w - s / 2, \quad i = \max\{n : W(n) \le t\}, \quad
              \omega = \frac{t - W(i)}{W(i + 1) - W(i)}

    (arXiv 2410.13842, eq. 6; ``bbox2distance`` of the release). Offsets outside the bins are moved to the first or last
    bin. A width or height that is 0 or negative is replaced by :math:`10^{-16} s`, so that the result is finite.

    Args:
        reference: (cx, cy, w, h), shape (..., 4).
        corners: (x1, y1, x2, y2) of the ground truth, shape (..., 4), in the same unit; leading dimensions broadcast.
        bins: Shape (N + 1,), ascending.
        reg_scale: :math:`s`.

    Returns:
        The bin on the left, :math:`i` in [0, N - 1], int64, and the weight :math:`\omega` in [0, 1] of bin
        :math:`i + 1`; both of shape (..., 4), without gradient.

    >>> bins = torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0])
    >>> reference = torch.tensor([0.5, 0.5, 0.2, 0.2])
    >>> edge_targets(reference, torch.tensor([0.35, 0.45, 0.9, 0.65]), bins, reg_scale=4.0)[0].tolist()
    [2, 1, 3, 2]
    """
    reference, corners = to_float(reference), to_float(corners)
    step = (reference[..., 2:] / reg_scale).clamp(min=SMALLEST_SIDE)
    distances = torch.cat([reference[..., :2] - corners[..., :2], corners[..., 2:] - reference[..., :2]], dim=-1)
    return between_bins(distances / torch.cat([step, step], dim=-1) - reg_scale / 2, bins)


def between_bins(offsets: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bin on the left of each offset, int64, and the weight of the bin on its right, of the same shape.

    Args:
        offsets: Any shape; those outside the bins are moved to the first or last bin.
        bins: Shape (N + 1,), ascending.

    >>> between_bins(torch.tensor([-9.0, 0.5, 9.0]), torch.tensor([-1.0, 0.0, 2.0]))
    (tensor([0, 1, 1]), tensor([0.0000, 0.2500, 1.0000]))
    """
    bins = bins.to(offsets)
    offsets = offsets.clamp(min=bins[0], max=bins[-1]).contiguous()
    index = (torch.bucketize(offsets, bins, right=True) - 1).clamp(min=0, max=bins.numel() - 2)
    left, right = bins[index], bins[index + 1]
    return index, (offsets - left) / (right - left)


class EdgeBins(NamedTuple):
    """Bins of edge distributions and the reference boxes that they are relative to."""

    reference: Tensor
    """(cx, cy, w, h), shape (..., 4)."""
    bins: Tensor
    """Shape (N + 1,), from :func:`weighting_function`."""
    reg_scale: float | Tensor
    """Number, or tensor of shape (), see :func:`weighting_function`."""


@torch.no_grad()
def move_distributions(probability: Tensor, source: EdgeBins, target: EdgeBins) -> Tensor:
    r"""Return distributions over the positions of box edges on the bins of other reference boxes.

    A bin of the source is a position of an edge in the image. Its probability goes to the two bins of the target around
    this position, as :func:`edge_targets` divides a true edge between them; positions outside the target's bins go to
    the first or last bin. Inside of them the mean position of an edge stays the same, and with equal references and
    bins the distribution does. This is the projection of categorical distributions of arXiv 1707.06887, eq. 7.

    Args:
        probability: Shape (..., 4, N + 1), edges left, top, right, bottom.
        source: Bins of ``probability``.
        target: Bins of the result; its references have the same shape and unit.

    Returns:
        Shape (..., 4, M + 1), without gradient.

    >>> bins = torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0])
    >>> here, aside = (EdgeBins(torch.tensor([x, 0.5, 0.2, 0.2]), bins, 4.0) for x in (0.5, 0.525))
    >>> certain = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]).expand(4, 5)
    >>> move_distributions(certain, here, aside)[::2]  # both edges lie a quarter of a bin further on the left
    tensor([[0.0000, 0.0000, 0.7500, 0.2500, 0.0000],
            [0.0000, 0.2500, 0.7500, 0.0000, 0.0000]])
    """
    probability = to_float(probability)
    here, there = (to_float(side.reference) for side in (source, target))
    unit = here[..., 2:] / source.reg_scale
    distances = (source.bins.to(here) + source.reg_scale / 2) * torch.cat([unit, unit], dim=-1)[..., None]
    shift = there[..., :2] - here[..., :2]
    step = (there[..., 2:] / target.reg_scale).clamp(min=SMALLEST_SIDE)
    distances = distances + torch.cat([shift, -shift], dim=-1)[..., None]
    offsets = distances / torch.cat([step, step], dim=-1)[..., None] - target.reg_scale / 2
    index, right = between_bins(offsets, target.bins)
    moved = probability.new_zeros(*probability.shape[:-1], len(target.bins))
    moved.scatter_add_(-1, index, probability * (1 - right))
    return moved.scatter_add_(-1, index + 1, probability * right)
