"""Memory layout of gradients."""

from __future__ import annotations

from torch import Tensor


def contiguous_gradient(x: Tensor) -> Tensor:
    """Return ``x``, and let its gradient arrive in the usual memory layout.

    The gradient of ``x.flatten(2).transpose(1, 2)`` has its channels last in memory. With one image, PyTorch's
    BatchNorm on a CPU (seen in 2.13) then returns wrong gradients, because the strides of a single image fit several
    layouts.

    Args:
        x: Feature maps, (N, C, H, W).
    """
    if x.requires_grad:
        x.register_hook(Tensor.contiguous)
    return x
