"""Adapters: maps from the student's features to the channels of the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import ConfigError
from .registry import MODELS
from .utils.checks import check_channel_dim, check_choice, check_number

MASKS = ('position', 'channel')


@MODELS.register_module()
class PointwiseAdapter(nn.Module):
    """Linear map of the channels at every position: a 1x1 convolution in any number of spatial dimensions.

    Args:
        in_channels: Number of channels of the student.
        out_channels: Number of channels of the teacher.
        channel_dim: Dimension of the channels: 1 for (N, C, *spatial) and (N, C), -1 for (N, L, C).
        bias: Whether the map has a bias.

    Raises:
        ConfigError: If ``channel_dim`` is 0, the dimension of the images.

    >>> import torch
    >>> PointwiseAdapter(2, 3)(torch.zeros(1, 2, 4, 5)).shape
    torch.Size([1, 3, 4, 5])
    >>> PointwiseAdapter(2, 3, channel_dim=-1)(torch.zeros(1, 7, 2)).shape
    torch.Size([1, 7, 3])
    """

    def __init__(self, in_channels: int, out_channels: int, channel_dim: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.channel_dim = check_channel_dim('adapter.channel_dim', channel_dim)
        self.projection = nn.Linear(in_channels, out_channels, bias=bias)

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


class RandomAdapter(nn.Module):
    """Base of adapters that draw random numbers; the distiller sets the attributes before every pass."""

    seed = 0
    """Seed of the next pass, a function of the seed of the run, iteration, rank, distiller and level."""
    on_images: Tensor | None = None
    """Mask of the cells of the next maps that lie on an image and not on its padding, (N, 1, H, W); None for all."""

    def generator(self, device: torch.device) -> torch.Generator:
        """Return a generator that starts from :attr:`seed`, so that the generators of the run draw nothing."""
        return torch.Generator(device).manual_seed(self.seed)


@MODELS.register_module()
class MaskedGenerator(RandomAdapter):
    r"""Generator of the teacher's map from a masked map of the student (MGD, arXiv 2205.01529).

    .. math:: G(M \odot A(s)), \qquad G = \mathrm{conv}_{3\times 3} \circ \mathrm{ReLU} \circ
        \mathrm{conv}_{3\times 3}

    A is a 1x1 convolution where the channels differ and else nothing. M is 0 with probability ``mask_ratio`` and else
    1, one value for each position of an image, or for each channel. The mask follows from the seed of the run,
    iteration and rank, so a resumed run draws the masks of the uninterrupted one. The convolutions see 0 on padding, as
    beyond the border of a map.

    Args:
        in_channels: Number of channels of the student.
        out_channels: Number of channels of the teacher.
        mask_ratio: Probability of a 0, in [0, 1). The release uses 0.65 for one-stage detectors, 0.45 for two-stage
            ones, 0.75 for segmentation, and 0.15 with ``mask='channel'`` for classification.
        mask: ``'position'`` or ``'channel'``.
        key: Config key of the adapter, for error sentences.

    Raises:
        ConfigError: If an argument does not fit.

    >>> MaskedGenerator(2, 3)(torch.zeros(1, 2, 4, 5)).shape
    torch.Size([1, 3, 4, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mask_ratio: float = 0.65,
        mask: str = 'position',
        key: str = 'adapter',
    ) -> None:
        super().__init__()
        self.mask_ratio = check_number(f'{key}.mask_ratio', mask_ratio, positive=False, example=0.65)
        if self.mask_ratio >= 1.0:
            raise ConfigError(f'{key}.mask_ratio is {mask_ratio}, which leaves nothing; use less than 1, such as 0.65')
        self.mask = check_choice(f'{key}.mask', mask, MASKS)
        same = in_channels == out_channels
        self.align = nn.Identity() if same else PointwiseAdapter(in_channels, out_channels)
        self.generation = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )

    def draw(self, x: Tensor) -> Tensor:
        """Return the mask of aligned features (N, C, H, W): shape (N, 1, H, W), or (N, C, 1, 1) for channels."""
        shape = (len(x), 1, *x.shape[2:]) if self.mask == 'position' else (*x.shape[:2], 1, 1)
        values = torch.rand(shape, generator=self.generator(x.device), device=x.device)
        return (values >= self.mask_ratio).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of shape (N, C_in, H, W) to (N, C_out, H, W).

        Raises:
            ValueError: If ``x`` has another number of dimensions.
        """
        if x.ndim != 4:
            raise ValueError("it needs (N, C, H, W); nearest: dict(type='kd_plugins.PointwiseAdapter')")
        aligned = self.align(x)
        masked = aligned * self.draw(aligned)
        if self.on_images is None:
            return self.generation(masked)
        first, activation, second = self.generation
        on_images = self.on_images.to(masked.dtype)
        return second(activation(first(masked * on_images)) * on_images)


def infer_adapter(
    student_shape: Sequence[int], teacher_shape: Sequence[int], channel_dim: int = 1, bias: bool = True
) -> nn.Module:
    """Return an adapter from the student's to the teacher's number of channels.

    Args:
        student_shape: Shape of the student's feature.
        teacher_shape: Shape of the teacher's feature.
        channel_dim: Dimension of the channels.
        bias: Whether the adapter has a bias.

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
    if channels[0] == channels[1]:
        return nn.Identity()
    return PointwiseAdapter(*channels, channel_dim=channel_dim, bias=bias)
