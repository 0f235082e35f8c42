"""Adapters: linear maps of the channels at every position."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .errors import ConfigError
from .registry import MODELS
from .utils.checks import check_channel_dim


@MODELS.register_module()
class PointwiseAdapter(nn.Module):
    """Linear map of the channels at every position: a 1x1 convolution in any number of spatial dimensions.

    Args:
        in_channels: Number of channels of the student.
        out_channels: Number of channels of the teacher.
        channel_dim: Dimension of the channels: 1 for (N, C, *spatial) and (N, C), -1 for (N, L, C).

    Raises:
        ConfigError: If ``channel_dim`` is 0, the dimension of the images.

    >>> import torch
    >>> PointwiseAdapter(2, 3)(torch.zeros(1, 2, 4, 5)).shape
    torch.Size([1, 3, 4, 5])
    >>> PointwiseAdapter(2, 3, channel_dim=-1)(torch.zeros(1, 7, 2)).shape
    torch.Size([1, 7, 3])
    """

    def __init__(self, in_channels: int, out_channels: int, channel_dim: int = 1) -> None:
        super().__init__()
        self.channel_dim = check_channel_dim('adapter.channel_dim', channel_dim)
        self.projection = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of shape (N, C_in, ...) to (N, C_out, ...), the channels in ``channel_dim``."""
        dim = self.channel_dim % x.ndim
        if dim == x.ndim - 1:
            return self.projection(x)
        if dim == 1:
            # A convolution avoids the two copies of moving the channels to the end and back. It is fastest with the
            # number of dimensions of the input.
            convolve, y = (F.conv2d, x) if x.ndim == 4 else (F.conv3d, x) if x.ndim == 5 else (F.conv1d, x.flatten(2))
            weight = self.projection.weight.view(*self.projection.weight.shape, *[1] * (y.ndim - 2))
            return convolve(y, weight, self.projection.bias).view(len(x), self.projection.out_features, *x.shape[2:])
        return self.projection(x.movedim(dim, -1)).movedim(-1, dim)


def infer_adapter(student_shape: Sequence[int], teacher_shape: Sequence[int], channel_dim: int = 1) -> nn.Module:
    """Return an adapter from the student's to the teacher's number of channels.

    Args:
        student_shape: Shape of the student's feature.
        teacher_shape: Shape of the teacher's feature.
        channel_dim: Dimension of the channels.

    Returns:
        ``nn.Identity`` for equal numbers, else :class:`PointwiseAdapter`.

    Raises:
        ConfigError: If the numbers of dimensions differ.

    >>> infer_adapter((2, 64, 8, 8), (2, 64, 8, 8))
    Identity()
    >>> infer_adapter((2, 64, 8, 8), (2, 256, 8, 8)).projection
    Linear(in_features=64, out_features=256, bias=True)
    """
    if len(student_shape) != len(teacher_shape):
        raise ConfigError(
            f'adapter: the student gives shape {tuple(student_shape)} and the teacher {tuple(teacher_shape)}; '
            'tap layers whose outputs have the same number of dimensions'
        )
    channels = student_shape[channel_dim], teacher_shape[channel_dim]
    return nn.Identity() if channels[0] == channels[1] else PointwiseAdapter(*channels, channel_dim=channel_dim)
