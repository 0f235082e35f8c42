"""Losses on regressed keypoints, each coordinate with its spread, as Laplace distributions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops.reduction import to_float
from ..registry import MODELS
from .keypoint import mean_over_joints


def laplace_kl(
    location: Tensor, scale: Tensor, teacher_location: Tensor, teacher_scale: Tensor, smallest: float = 1e-4
) -> Tensor:
    r"""Return the KL divergence of Laplace distributions, teacher to student.

    With :math:`p(x) = \frac{1}{2 b_t} e^{-|x - \mu_t| / b_t}`, q the same of the student, and
    :math:`\delta = |\mu_t - \mu_s|`:

    .. math:: KL(p \| q) = \log\frac{b_s}{b_t} + \frac{\delta + b_t e^{-\delta / b_t}}{b_s} - 1

    since :math:`E_p |x - \mu_t| = b_t` and :math:`E_p |x - \mu_s| = \delta + b_t e^{-\delta / b_t}` (M. Gil, thesis,
    Queen's University, 2011, which ``torch.distributions`` cites for the same formula). With :math:`r = b_t / b_s`
    and :math:`u = \delta / b_t` it is computed as

    .. math:: (r - 1 - \log r) + r \, (e^{-u} - 1 + u),

    two terms >= 0, one for the spread and one for the position, which stay exact where student and teacher agree.

    Args:
        location: :math:`\mu_s`, any shape. All four arguments are in the same unit.
        scale: :math:`b_s` >= 0, the same shape.
        teacher_location: :math:`\mu_t`, the same shape; no gradient goes through it.
        teacher_scale: :math:`b_t` >= 0, the same shape; no gradient goes through it.
        smallest: Lower bound of both scales, > 0. The default, for coordinates in units of the image, is about
            a fiftieth of a pixel. A student's scale below the bound receives no gradient.

    Returns:
        The shape of the input, float32 (float64 for float64).

    >>> zero, one = torch.zeros(1), torch.ones(1)
    >>> laplace_kl(zero, one, zero, one), laplace_kl(zero, one, one, one)
    (tensor([0.]), tensor([0.3679]))
    """
    scale = to_float(scale).clamp(min=smallest)
    teacher_scale = to_float(teacher_scale.detach()).clamp(min=smallest)
    ratio = teacher_scale / scale
    offset = (to_float(location) - to_float(teacher_location.detach())).abs() / teacher_scale
    return (ratio - 1.0 - ratio.log()) + ratio * (torch.expm1(-offset) + offset)


def laplace_kl_loss(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], weight: Tensor | None = None
) -> Tensor:
    """Return :func:`laplace_kl` summed over the coordinates, averaged over the joints and the images of all ranks.

    The coordinates are independent, so their divergences add. Every rank must call it.

    Args:
        student: Locations and scales of the student, each of shape (N, K, D).
        teacher: Locations and scales of the teacher.
        weight: Weight of each joint, shape (N, K); None gives all joints the weight 1.

    Returns:
        Shape (), ``0 * sum`` where every weight is 0 or there is no image.

    >>> zero, one = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
    >>> laplace_kl_loss((zero, one), (one, one))
    tensor(0.7358)
    """
    return mean_over_joints(laplace_kl(*student, *teacher).sum(dim=-1), weight)


@MODELS.register_module()
class LaplaceKLLoss(nn.Module):
    """Module form of :func:`laplace_kl_loss`."""

    def forward(
        self, student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], weight: Tensor | None = None
    ) -> Tensor:
        """See :func:`laplace_kl_loss`."""
        return laplace_kl_loss(student, teacher, weight)
