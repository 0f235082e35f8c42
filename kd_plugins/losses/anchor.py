"""Distance of parameters from anchors, the values that they should keep."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def anchor_penalty(
    parameters: Sequence[Tensor], anchors: Sequence[Tensor], information: Sequence[Tensor | None] | None = None
) -> Tensor:
    r"""Return the squared distance from the anchors, each entry times its information.

    .. math:: L = \sum_j F_j (\theta_j - \theta^0_j)^2, \qquad
        \frac{\partial L}{\partial \theta_j} = 2 F_j (\theta_j - \theta^0_j)

    With :math:`F = 1` it is L2-SP (arXiv 1802.01483, without its factor 1/2). With the Fisher information of an earlier
    task it is elastic weight consolidation, EWC (arXiv 1612.00796, equation 3, without its factor 1/2).

    Args:
        parameters: Parameters :math:`\theta`, of any shapes.
        anchors: Values :math:`\theta^0` of the same shapes; no gradient goes through them.
        information: Weights :math:`F \ge 0` of the same shapes; None, also in place of one of them, is 1.

    Returns:
        Shape (), float32 (float64 for float64); 0 without parameters.

    >>> anchor_penalty([torch.tensor([1.0, 3.0])], [torch.tensor([0.0, 1.0])], [torch.tensor([1.0, 0.5])])
    tensor(3.)
    """
    if not parameters:
        return torch.zeros(())
    squares = [(_float(one) - _float(anchor.detach())).square() for one, anchor in zip(parameters, anchors)]
    if information is not None:
        squares = [
            square if weight is None else square * _float(weight.detach())
            for square, weight in zip(squares, information)
        ]
    return torch.stack([square.sum() for square in squares]).sum()


def relative_drift(parameters: Sequence[Tensor], anchors: Sequence[Tensor]) -> Tensor:
    r"""Return :math:`\lVert\theta - \theta^0\rVert / \lVert\theta^0\rVert` over all parameters, detached; shape ().

    Args:
        parameters: Parameters :math:`\theta`, of any shapes, at least one.
        anchors: Values :math:`\theta^0` of the same shapes.

    >>> relative_drift([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 0.0])])
    tensor(1.3333)
    """
    with torch.no_grad():
        distance = anchor_penalty(parameters, anchors)
        norm = torch.stack([_float(anchor).square().sum() for anchor in anchors]).sum()
        return (distance / norm.clamp(min=torch.finfo(norm.dtype).tiny)).sqrt()


def _float(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
