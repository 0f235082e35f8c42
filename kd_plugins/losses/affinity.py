"""Affinities between the positions of images (CIRKD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from torch import Tensor, nn

from ..ops.gathering import gather_rows
from ..ops.pair_softmax import divergence, pair_loss
from ..ops.reduction import global_normalizer, to_float
from ..registry import MODELS
from ..utils.checks import check_choice

PAIRS = ('image', 'batch')
"""Pairs of images whose positions are compared."""


def unit_vectors(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the channel vectors of all positions at length 1, and 0 where they are shorter than ``eps``.

    Args:
        x: Shape (N, C, ...).
        eps: Shortest vector that has a direction.

    Returns:
        Shape (N, C, P), float32 (float64 for float64).

    >>> unit_vectors(torch.tensor([[[3.0, 0.0], [4.0, 0.0]]]))
    tensor([[[0.6000, 0.0000],
             [0.8000, 0.0000]]])
    """
    x = to_float(x).flatten(2)
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    defined = norm > eps
    return torch.where(defined, x / torch.where(defined, norm, 1.0), 0.0)


def affinity_kl(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    rows_valid: Tensor,
    columns_valid: Tensor,
    temperature: float,
    chunk: int | None = None,
) -> Tensor:
    r"""Return the sum over images of the divergence of their positions' affinities to the positions of other images.

    .. math:: \sum_n \frac{1}{M} \sum_m \frac{1}{|V_n|} \sum_{i \in V_n}
        KL\big(softmax_j(t_{ni} \cdot t_{mj} / \tau) \,\|\, softmax_j(s_{ni} \cdot s_{mj} / \tau)\big)

    There are no second derivatives.

    Args:
        student: Unit vectors of the images, (N, C, P), and of those that they are compared with, (N or 1, M, C, Q).
        teacher: The same of the teacher, without gradient; its number of channels may differ.
        rows_valid: Booleans (N, P): the positions :math:`V_n` of each image.
        columns_valid: Booleans (N or 1, M, Q).
        temperature: :math:`\tau` > 0.
        chunk: See :func:`affinity_loss`.

    Returns:
        Shape ().
    """
    weight = rows_valid.to(student[0].dtype)
    weight = weight / (weight.sum(dim=1, keepdim=True).clamp(min=1.0) * max(student[1].shape[1], 1))
    scaled = [(rows / temperature, columns) for rows, columns in (student, teacher)]
    return pair_loss(scaled[0], scaled[1], columns_valid, weight, divergence, chunk)


def _of_all_ranks(own: Tensor, others: list[Tensor]) -> Tensor:
    """Return the images of all ranks in their order, with the gradient of this rank's images."""
    others[get_rank()] = own
    return torch.cat(others)


def _batch_affinity(student: Tensor, teacher: Tensor, valid: Tensor, temperature: float, chunk: int | None) -> Tensor:
    """Return the sum over this rank's images of :func:`affinity_kl` to the images of all ranks."""
    if get_world_size() == 1:
        return affinity_kl((student, student[None]), (teacher, teacher[None]), valid, valid[None], temperature, chunk)
    shapes = gather_rows(torch.tensor([valid.shape], device=valid.device)).tolist()
    missing = max(positions for _, positions in shapes) - valid.shape[1]
    student, teacher, valid = (F.pad(x, (0, missing)) for x in (student, teacher, valid))
    counts = [images for images, _ in shapes]
    gathered = [list(gather_rows(x.detach()).split(counts)) for x in (student, teacher, valid)]
    images, taught, counted = (_of_all_ranks(x, parts) for x, parts in zip((student, teacher, valid), gathered))
    total = affinity_kl((student, images[None]), (teacher, taught[None]), valid, counted[None], temperature, chunk)
    # A pair with a row of another rank belongs to the value there; its gradient to a column of this rank is added here.
    rank = get_rank()
    rows, taught_rows, rows_valid = (torch.cat(parts[:rank] + parts[rank + 1 :]) for parts in gathered)
    columns = (rows, student[None]), (taught_rows, teacher[None])
    share = affinity_kl(*columns, rows_valid, valid[None], temperature, chunk) * (len(student) / len(images))
    return total + share - share.detach()


def affinity_loss(
    student: Tensor,
    teacher: Tensor,
    valid: Tensor | None = None,
    temperature: float = 0.1,
    pairs: str = 'image',
    chunk: int | None = None,
) -> Tensor:
    r"""Return the divergence of the affinities between positions (CIRKD, arXiv 2204.06986, eq. 6 to 8).

    .. math:: \mathrm{mean}_{(n, m)} \mathrm{mean}_i \;
        KL\big(softmax_j(t_{ni} \cdot t_{mj} / \tau) \,\|\, softmax_j(s_{ni} \cdot s_{mj} / \tau)\big)

    with channel vectors of length 1 at positions i and j of the images n and m. With ``pairs='image'`` m is n, so that
    the value does not depend on how images are put into batches. With ``'batch'`` (n, m) are all pairs of images of
    all ranks, where the release pairs those of one rank. Every rank must call it.

    Args:
        student: Maps, shape (N, C, ...).
        teacher: Maps with the same positions; the number of channels may differ. No gradient goes through them.
        valid: Booleans, shape (N, ...), False on padding; None: no padding.
        temperature: :math:`\tau` > 0.
        pairs: ``'image'`` or ``'batch'``.
        chunk: Number of affinities to hold at a time, unless those of one position of each image are more; None
            depends on the device. The result does not depend on it.

    Returns:
        Shape ().

    Raises:
        ConfigError: If ``pairs`` is neither.

    >>> x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> affinity_loss(x, 3 * x), affinity_loss(x, torch.ones(1, 1, 2))
    (tensor(0.), tensor(4.3069))
    """
    check_choice('pairs', pairs, PAIRS)
    s, t = unit_vectors(student), unit_vectors(teacher.detach())
    counted = torch.ones_like(s[:, 0], dtype=torch.bool) if valid is None else valid.flatten(1)
    if pairs == 'batch':
        total = _batch_affinity(s, t, counted, temperature, chunk)
    else:
        total = affinity_kl((s, s[:, None]), (t, t[:, None]), counted, counted[:, None], temperature, chunk)
    return total / global_normalizer(total.new_full((), len(s)), minimum=1.0)


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """Module form of :func:`affinity_loss`, averaged over levels.

    Args:
        temperature, pairs: See :func:`affinity_loss`.

    Raises:
        ConfigError: If ``pairs`` is not valid.
    """

    def __init__(self, temperature: float = 0.1, pairs: str = 'image') -> None:
        super().__init__()
        self.temperature = temperature
        self.pairs = check_choice('pairs', pairs, PAIRS)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """See :func:`affinity_loss`."""
        levels = [affinity_loss(s, t, None, self.temperature, self.pairs) for s, t in zip(student, teacher)]
        return torch.stack(levels).mean()
