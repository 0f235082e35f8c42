"""Fusion of convolutions, norms and parallel branches into single convolutions, for inference.

Sources: RepVGG (arXiv 2101.03697, section 3.3); ``torch.nn.utils.fusion``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

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
        norm: A BatchNorm layer with statistics; unchanged. Anything else is taken for an identity, see
            :func:`can_fuse`.

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


def can_fuse(norm: Any) -> bool:
    """Return whether :func:`fuse_conv_norm` computes what a norm does: BatchNorm with statistics, or no norm.

    >>> can_fuse(nn.BatchNorm2d(2)), can_fuse(None), can_fuse(nn.GroupNorm(1, 2))
    (True, True, False)
    """
    if isinstance(norm, _BatchNorm):
        return norm.running_mean is not None
    return norm is None or isinstance(norm, nn.Identity)


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


def norm_pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Return the names of the children of a module that are a convolution and the BatchNorm layer after it.

    They are told by their names, as in MMCV's ``ConvModule`` (``conv``, ``bn``), HGNetV2 and ResNet (``conv1``,
    ``bn1``), or by their order in a ``Sequential``. Convolutions that change their weights, and norms with an
    activation or without running statistics, are left out, and so is a ``ConvModule`` whose norm comes first.

    >>> norm_pairs(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.ReLU()))
    [('0', '1')]
    """
    children = dict(module.named_children())
    order = getattr(module, 'order', ('conv', 'norm'))
    if isinstance(module, nn.Sequential):
        candidates = list(pairwise(children))
    elif 'norm' in order and 'conv' in order and order.index('norm') < order.index('conv'):
        candidates = []
    else:
        candidates = [(name, f'bn{name[4:]}') for name in children if name.startswith('conv')]
    return [
        (conv, norm)
        for conv, norm in candidates
        if type(children[conv]).__name__ == 'Conv2d'
        and type(children.get(norm)) in (nn.BatchNorm2d, nn.SyncBatchNorm)
        and can_fuse(children[norm])
    ]


def switch_to_deploy(model: nn.Module) -> int:
    """Fuse branches, convolutions and norms of a network in place, for inference; a second call changes nothing.

    Modules with a method ``switch_to_deploy`` and an attribute ``deployed`` are asked to change themselves: RepVGG
    blocks merge their branches, and a detector drops what only trains. Then the norms of :func:`norm_pairs` become
    identities. The network is in eval mode afterwards and has no trainable parameter.

    Args:
        model: The network.

    Returns:
        Number of modules that were changed.
    """
    count = 0
    for module in list(model.modules()):
        # MMPose has methods of this name that take arguments, without the attribute.
        if hasattr(module, 'switch_to_deploy') and not getattr(module, 'deployed', True):
            cast(Any, module).switch_to_deploy()
            count += bool(module.deployed)
    for module in list(model.modules()):
        for conv, norm in norm_pairs(module):
            setattr(module, conv, fuse_conv_norm(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())
            count += 1
    model.eval()  # returns nothing for some backbones of OpenMMLab
    model.requires_grad_(False)
    return count


__all__ = ['can_fuse', 'fuse_conv_norm', 'norm_pairs', 'pad_kernel', 'switch_to_deploy']
