"""Losses on feature maps; each function returns one value per image, so that only the mean over images remains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.reduction import mean_over_images, mean_per_image, to_float
from ..registry import MODELS
from ..utils.checks import check_choice

MSE_REDUCTIONS = ('mean', 'sum')

FeatureLoss = Callable[..., Tensor]
"""Function from student and teacher features (N, ...) to one value per image (N,); ``valid=`` are the positions that
count."""


def feature_mse(student: Tensor, teacher: Tensor, reduction: str = 'mean', valid: Tensor | None = None) -> Tensor:
    """Return the mean (FitNets, arXiv 1412.6550, eq. 3) or the sum of the squared differences of each image.

    The sum is the form in DWPose (arXiv 2307.15880; ``FeaLoss`` of mmpose/models/losses/fea_dis_loss.py).

    Args:
        student: Features, shape (N, ...).
        teacher: Features of the same shape; no gradient goes through them.
        reduction: ``'mean'`` or ``'sum'`` over everything but the images.
        valid: Booleans, shape (N, P), False at positions of (N, C, *spatial), in row-major order, that do not count;
            None counts all.

    Returns:
        Shape (N,), float32 (float64 for float64).

    Raises:
        ConfigError: If ``reduction`` is neither.

    >>> feature_mse(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]))
    tensor([5.])
    >>> feature_mse(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), reduction='sum')
    tensor([10.])
    """
    check_choice('reduction', reduction, MSE_REDUCTIONS)
    # One function, because a difference and its square would keep the difference for the backward pass.
    squares = F.mse_loss(to_float(student), to_float(teacher.detach()), reduction='none')
    if valid is not None:
        total = (squares.flatten(2) * valid[:, None]).sum(dim=(1, 2))
        return total if reduction == 'sum' else total / (squares.shape[1] * valid.sum(dim=1)).clamp(min=1)
    if reduction == 'mean':
        return mean_per_image(squares)
    return squares.flatten(1).sum(dim=1) if squares.ndim > 1 else squares


def feature_cosine(
    student: Tensor, teacher: Tensor, dim: int = 1, eps: float = 1e-6, valid: Tensor | None = None
) -> Tensor:
    """Return the mean over positions of 1 - cosine similarity of the channel vectors.

    A vector shorter than ``eps`` has no direction: its position contributes 0 and receives no gradient.

    Args:
        student: Features, shape (N, C, ...) or with the channels in ``dim``.
        teacher: Features of the same shape; no gradient goes through them.
        dim: Dimension of the channels.
        eps: Shortest vector that has a direction.
        valid: Booleans, shape (N, P), False at positions of (N, C, *spatial), in row-major order, that do not count;
            None counts all.

    Returns:
        Shape (N,), in [0, 2], float32 (float64 for float64).

    >>> feature_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor([1.])
    """
    student, teacher = to_float(student), to_float(teacher.detach())
    norms = [torch.linalg.vector_norm(x, dim=dim, keepdim=True) for x in (student, teacher)]
    defined = (norms[0] > eps) & (norms[1] > eps)
    # Safe norms come before the product: also the gradient of the values that `where` discards must be finite.
    unit_s, unit_t = (x / torch.where(defined, n, 1.0) for x, n in zip((student, teacher), norms))
    distance = 1.0 - (unit_s * unit_t).sum(dim=dim)
    return mean_per_image(torch.where(defined.squeeze(dim), distance, 0.0), valid)


def feature_cosine_l1(
    student: Tensor, teacher: Tensor, dim: int = 1, share: float = 0.1, valid: Tensor | None = None
) -> Tensor:
    r"""Return a mean of cosine distance and smooth L1 distance of the channel vectors (GPFM, arXiv 2407.18449).

    .. math:: (1 - \lambda) (1 - \cos(s, t)) + \lambda \, \mathrm{mean}_c \, smooth\_l1(s_c - t_c)

    averaged over positions. The direction of the vectors decides, and their length counts a little.

    Args:
        student: Features, shape (N, C, ...) or with the channels in ``dim``.
        teacher: Features of the same shape; no gradient goes through them.
        dim: Dimension of the channels.
        share: :math:`\lambda`, in [0, 1].
        valid: Booleans, shape (N, P), False at positions of (N, C, *spatial), in row-major order, that do not count;
            None counts all.

    Returns:
        Shape (N,), float32 (float64 for float64).

    >>> feature_cosine_l1(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    tensor([1.])
    """
    distance = F.smooth_l1_loss(to_float(student), to_float(teacher.detach()), reduction='none').mean(dim=dim)
    return (1.0 - share) * feature_cosine(student, teacher, dim, valid=valid) + share * mean_per_image(distance, valid)


def channel_wise_kl(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, dim: int = 1, valid: Tensor | None = None
) -> Tensor:
    r"""Return the channel-wise divergence of each image (CWD, arXiv 2011.13256, eq. 4).

    .. math:: \frac{T^2}{C} \sum_c \sum_i \phi(t_{c,i}) \log \frac{\phi(t_{c,i})}{\phi(s_{c,i})}

    where :math:`\phi` is the softmax of each channel over its positions. It depends on where a channel is active, not
    on how strongly.

    Args:
        student: Features, shape (N, C, *spatial) or with the channels in ``dim``.
        teacher: Features of the same shape; no gradient goes through them.
        temperature: :math:`T` > 0.
        dim: Dimension of the channels.
        valid: Booleans, shape (N, P), False at positions of (N, C, *spatial), in row-major order, that do not count;
            None counts all.

    Returns:
        Shape (N,), float32 (float64 for float64).

    >>> channel_wise_kl(torch.zeros(1, 1, 2), torch.tensor([[[0.0, 30.0]]]))
    tensor([0.6931])
    """

    def log_shares(x: Tensor) -> Tensor:
        rows = (to_float(x) / temperature).movedim(dim, 1).flatten(2)
        if valid is not None:
            # Finite, so that the difference of the logarithms is 0 and not NaN.
            rows = rows.masked_fill(~valid[:, None], torch.finfo(rows.dtype).min / 2)
        return rows.log_softmax(dim=-1)

    divergence = F.kl_div(log_shares(student), log_shares(teacher.detach()), reduction='none', log_target=True)
    return mean_per_image(divergence.sum(dim=-1)) * temperature**2


def feature_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    per_image: FeatureLoss,
    valid: Sequence[Tensor | None] | None = None,
) -> Tensor:
    """Return ``per_image`` averaged over the levels, then over the images of all ranks.

    Args:
        student: Features of each level, shape (N, ...).
        teacher: Features of the same shapes.
        per_image: One of the functions above.
        valid: For each level, the positions that count, or None. None counts all of all levels.

    Returns:
        Shape ().

    >>> feature_loss([torch.zeros(2, 1)], [torch.tensor([[1.0], [3.0]])], feature_mse)
    tensor(5.)
    """
    masks = [None] * len(student) if valid is None else valid
    levels = [
        per_image(s, t) if mask is None else per_image(s, t, valid=mask) for s, t, mask in zip(student, teacher, masks)
    ]
    return mean_over_images(torch.stack(levels).mean(dim=0))


class _FeatureLossModule(nn.Module):
    """A feature loss with its options bound."""

    per_image: FeatureLoss

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """See :func:`feature_loss`."""
        return feature_loss(student, teacher, self.per_image)


@MODELS.register_module()
class FeatureMSELoss(_FeatureLossModule):
    """Module form of :func:`feature_mse` over levels and images.

    Args:
        reduction: ``'mean'`` or ``'sum'``, within an image.

    Raises:
        ConfigError: If ``reduction`` is neither.
    """

    def __init__(self, reduction: str = 'mean') -> None:
        super().__init__()
        check_choice('reduction', reduction, MSE_REDUCTIONS)
        self.per_image = partial(feature_mse, reduction=reduction)


@MODELS.register_module()
class FeatureCosineLoss(_FeatureLossModule):
    """Module form of :func:`feature_cosine` over levels and images.

    Args:
        channel_dim: Dimension of the channels.
    """

    def __init__(self, channel_dim: int = 1) -> None:
        super().__init__()
        self.per_image = partial(feature_cosine, dim=channel_dim)


@MODELS.register_module()
class ChannelWiseKLLoss(_FeatureLossModule):
    """Module form of :func:`channel_wise_kl` over levels and images.

    Args:
        temperature: Softens both distributions over positions.
        channel_dim: Dimension of the channels.
    """

    def __init__(self, temperature: float = 1.0, channel_dim: int = 1) -> None:
        super().__init__()
        self.per_image = partial(channel_wise_kl, temperature=temperature, dim=channel_dim)
