"""Fusion of convolutions, norms and parallel branches into single convolutions, for inference.

Sources: RepVGG (arXiv 2101.03697, section 3.3); ``torch.nn.utils.fusion``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fuse_conv_norm(conv: Any, norm: Any) -> nn.Conv2d:
    r"""Return a convolution with bias that computes a convolution and the BatchNorm layer after it.

    :math:`W' = s W` and :math:`b' = s (b - \mu) + \beta` with :math:`s = \gamma / \sqrt{\sigma^2 + \epsilon}`.

    Args:
        conv: A ``Conv2d``, with or without a bias; unchanged.
        norm: A BatchNorm layer with statistics; unchanged. Anything else is taken for an identity.

    Returns:
        A convolution without gradients, in the mode, dtype and device of ``conv``.

    >>> norm = nn.BatchNorm2d(1).eval()
    >>> norm.running_mean.fill_(2.0), fuse_conv_norm(nn.Conv2d(1, 1, 1, bias=False), norm).bias.item()
    (tensor([2.]), -1.9999899864196777)
    """
    fused = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups,
        padding_mode=conv.padding_mode, device=conv.weight.device, dtype=conv.weight.dtype,
    ).train(conv.training)  # fmt: skip
    weight, bias = conv.weight, conv.bias
    if isinstance(norm, _BatchNorm):
        assert norm.running_mean is not None and norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
    fused.weight.copy_(weight)
    assert fused.bias is not None
    if bias is None:
        fused.bias.zero_()
    else:
        fused.bias.copy_(bias)
    return fused.requires_grad_(False)


def pad_kernel(weight: Tensor, kernel_size: Sequence[int]) -> Tensor:
    """Return the kernel of a convolution in the middle of a larger one.

    Args:
        weight: (out, in, height, width), both odd.
        kernel_size: Height and width of the larger kernel, both odd.

    >>> pad_kernel(torch.ones(1, 1, 1, 1), (3, 3)).sum(dim=3)
    tensor([[[0., 1., 0.]]])
    """
    rows, columns = ((large - small) // 2 for large, small in zip(kernel_size, weight.shape[2:]))
    return nn.functional.pad(weight, (columns, columns, rows, rows))


def switch_to_deploy(model: nn.Module) -> int:
    """Fuse branches, convolutions and norms of a network in place, for inference; a second call changes nothing.

    Modules with a method ``switch_to_deploy`` are asked to fuse themselves. In all other modules whose children
    ``conv`` and ``bn`` are a convolution and a BatchNorm layer, as in MMCV's ``ConvModule`` and in HGNetV2, the norm
    becomes an identity. The network must be in eval mode afterwards, too: its fused layers cannot be trained.

    Args:
        model: The network.

    Returns:
        Number of modules that were fused.
    """
    count = 0
    for module in list(model.modules()):
        deploy = getattr(module, 'switch_to_deploy', None)
        if deploy is not None and not module.deployed:
            deploy()
            count += 1
    for module in list(model.modules()):
        conv, norm = getattr(module, 'conv', None), getattr(module, 'bn', None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, _BatchNorm):
            module.conv, module.bn = fuse_conv_norm(conv, norm), nn.Identity()
            count += 1
    return count


__all__ = ['fuse_conv_norm', 'pad_kernel', 'switch_to_deploy']
