"""Feature maps at another size, in which padding counts for nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def without_padding(
    x: Tensor, inside: Tensor | None, resize: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None]:
    r"""Return a map at another size, as weighted means of its positions on images.

    .. math:: y = \frac{r(m x)}{r(m)}

    with a linear map :math:`r` whose weights are not negative, such as an interpolation or a mean over cells, and
    :math:`m`, 1 on an image and 0 on padding. So what a network computes on padding does not change the result.

    Args:
        x: (N, C, *spatial).
        inside: Booleans (N, P) over the positions in row-major order, False on padding; None where all count.
        resize: :math:`r`, which takes (N, C, *spatial) with any C.

    Returns:
        The resized map, 0 where :math:`r` reads padding alone; and booleans over its positions, False there, or None
        where all positions count.

    >>> x, inside = torch.tensor([[[1.0, 3.0, 9.0, 9.0]]]), torch.tensor([[True, True, False, False]])
    >>> without_padding(x, inside, lambda y: torch.nn.functional.interpolate(y, 3, mode='area'))
    (tensor([[[2., 3., 0.]]]), tensor([[ True,  True, False]]))
    """
    if inside is None:
        return resize(x), None
    counted = inside.view(len(x), 1, *x.shape[2:]).to(x.dtype)
    shares = resize(counted)
    reached = shares > 0
    return resize(x * counted) / torch.where(reached, shares, 1.0), reached.flatten(1)


def replicate_edges(x: Tensor, inside: Tensor | None) -> Tensor:
    """Return maps whose padding repeats the last row and column of each image, as ``mode='replicate'`` does in PyTorch.

    An interpolation of such a map gives on an image what it gives for the image alone, which it clamps at its edges.

    Args:
        x: (N, C, H, W).
        inside: Booleans (N, H * W), False on padding, which lies below and to the right of the images; None where there
            is none.

    >>> x, inside = torch.tensor([[[[1.0, 3.0, 9.0, 9.0]]]]), torch.tensor([[True, True, False, False]])
    >>> replicate_edges(x, inside)
    tensor([[[[1., 3., 3., 3.]]]])
    """
    if inside is None:
        return x
    places = inside.view(len(x), 1, *x.shape[2:])
    for dim in (2, 3):
        counted = places.any(dim=5 - dim, keepdim=True)
        last = counted & (counted.cumsum(dim) == counted.sum(dim, keepdim=True))
        # A sum with one term: an indexed read has a gradient that is not deterministic on a GPU.
        edge = torch.where(last, x, 0.0).sum(dim=dim, keepdim=True)
        x = torch.where(counted, x, edge)
    return x
