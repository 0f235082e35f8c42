"""Objects of every image as the instructor sees them, whatever the task is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = 0.5
"""Share of a cell above which an object has it."""
CellsOf = Callable[[Sequence[int], Tensor | None], Tensor]
"""Function from the height and width of a map, and booleans (N, 1, H, W) that are False on padding or None, to the
cells of each object, (N, G, H, W) with 1 and 0."""


@dataclass(frozen=True)
class Objects:
    """Objects of every image, padded to the same number.

    Attributes:
        descriptors: What the labels say about each object, from -1 to 1, (N, G, K), without gradient.
        valid: Booleans, (N, G), False for padding.
        labels: Class or joint of each object, (N, G), -1 for padding and for the context, which is the whole image and
            the first object where there is one.
        cells: Cells of a map that each object has, all 0 for padding.
    """

    descriptors: Tensor
    valid: Tensor
    labels: Tensor
    cells: CellsOf

    @property
    def real(self) -> Tensor:
        """Booleans, (N, G), True for objects of the ground truth."""
        return self.labels >= 0


def of_every_kind(
    parts: Tensor, valid: Tensor, covered: Callable[[Sequence[int]], Tensor], whole: Sequence[float] | None
) -> Objects:
    """Return the objects of images that have one object of each kind, or none.

    Args:
        parts: What the labels say about each object but its kind, from 0 to 1, (N, K, P). The kind is added to it.
        valid: Which kinds each image has, (N, K).
        covered: Function from the height and width of a map to booleans, (N, K, H, W).
        whole: What is said about the image itself, P numbers, which then comes first and has no kind; None leaves it
            out.

    >>> objects = of_every_kind(torch.ones(1, 2, 1), torch.tensor([[True, False]]), lambda grid: None, [1.0])
    >>> objects.labels.tolist(), objects.descriptors.tolist()
    ([[-1, 0, -1]], [[[1.0, -1.0, -1.0], [1.0, 1.0, -1.0], [1.0, -1.0, 1.0]]])
    """
    kinds = torch.eye(valid.shape[1], device=parts.device, dtype=parts.dtype)
    labels = torch.where(valid, torch.arange(valid.shape[1], device=valid.device), -1)
    parts = torch.cat([parts, kinds.expand(len(parts), -1, -1)], dim=-1)
    if whole is not None:
        first = parts.new_tensor([*whole, *[0.0] * valid.shape[1]])
        parts = torch.cat([first.expand(len(parts), 1, -1), parts], dim=1)
        labels, valid = F.pad(labels, (1, 0), value=-1), F.pad(valid, (1, 0), value=True)

    def cells(grid: Sequence[int], inside: Tensor | None) -> Tensor:
        found = covered(grid)
        if whole is not None:
            found = F.pad(found, (0, 0, 0, 0, 1, 0), value=True)
        return on_images(found & valid[..., None, None], inside).to(parts.dtype)

    return Objects(2.0 * parts - 1.0, valid, labels, cells)


def cells_by_share(shares: Tensor) -> Tensor:
    """Return the cells of objects from the share of each cell that they cover.

    An object has the cells that it covers by more than half, and the one that it covers most, so that an object that is
    thinner than a cell is not lost.

    Args:
        shares: From 0 to 1, (N, G, H, W).

    Returns:
        Booleans of the same shape, all False for an object that covers nothing.

    >>> cells_by_share(torch.tensor([[[[0.9, 0.6, 0.1]], [[0.0, 0.1, 0.3]], [[0.0, 0.0, 0.0]]]])).int().tolist()
    [[[[1, 1, 0]], [[0, 0, 1]], [[0, 0, 0]]]]
    """
    flat = shares.flatten(2)
    highest, place = flat.max(dim=-1, keepdim=True)
    most = torch.zeros_like(flat, dtype=torch.bool).scatter(-1, place, highest > 0)
    return ((flat > HALF) | most).view(shares.shape)


def on_images(cells: Tensor, inside: Tensor | None) -> Tensor:
    """Return the cells of objects, (N, G, H, W), without those on padding."""
    return cells if inside is None else cells & inside
