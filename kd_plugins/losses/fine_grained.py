"""Fine-grained localization loss: cross-entropy with the two bins around each true edge (arXiv 2410.13842)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops.reduction import to_float
from ..registry import MODELS
from ..utils.checks import check_number


def fine_grained_localization(logits: Tensor, index: Tensor, right: Tensor) -> Tensor:
    r"""Return the interpolated cross-entropy of every edge.

    .. math:: (1 - \omega) \, CE(z, i) + \omega \, CE(z, i + 1)

    (arXiv 2410.13842, eq. 5, without the weight by IoU).

    Args:
        logits: :math:`z`, shape (..., 4, N + 1).
        index: Left bin :math:`i`, int64, shape (..., 4); leading dimensions broadcast to those of ``logits``.
        right: Weight :math:`\omega` of the right bin, same shape as ``index``.

    Returns:
        Shape (..., 4), float32 (float64 for float64).

    >>> fine_grained_localization(torch.zeros(1, 4, 3), torch.ones(4, dtype=torch.long), torch.rand(4))
    tensor([[1.0986, 1.0986, 1.0986, 1.0986]])
    """
    log_p = to_float(logits).log_softmax(dim=-1)
    pair = torch.stack([index, index + 1], dim=-1).expand(*log_p.shape[:-1], 2)
    right = right.to(log_p.dtype)
    return -(log_p.gather(-1, pair) * torch.stack([1 - right, right], dim=-1)).sum(dim=-1)


@MODELS.register_module()
class FGLLoss(nn.Module):
    """:func:`fine_grained_localization` weighted by the quality of the predicted boxes, one value per layer.

    Args:
        loss_weight: Factor of the result.
    """

    def __init__(self, loss_weight: float = 0.15) -> None:
        super().__init__()
        self.loss_weight = check_number('FGLLoss.loss_weight', loss_weight, positive=False, example=0.15)

    def forward(
        self, logits: Tensor, index: Tensor, right: Tensor, quality: Tensor, normalizer: Tensor | float
    ) -> Tensor:
        """Return the sum over pairs and edges divided by ``normalizer``.

        Args:
            logits: Shape (L, M, 4, N + 1).
            index: Left bin from :func:`~kd_plugins.ops.edge_bins.edge_targets`, shape (M, 4) or (L, M, 4).
            right: Weight of the right bin, same shape.
            quality: IoU of each predicted box with its ground truth, shape (L, M); no gradient goes through it.
            normalizer: Divisor, usually the mean over ranks of M, at least 1.

        Returns:
            Shape (L,); 0 with a gradient of 0 where M is 0.
        """
        loss = fine_grained_localization(logits, index, right).sum(dim=-1)
        return self.loss_weight * (loss * quality.detach().to(loss.dtype)).sum(dim=-1) / normalizer
