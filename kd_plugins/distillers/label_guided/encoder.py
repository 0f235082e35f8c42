"""Encoder of labels: the objects of an image as a set of points (PointNet, arXiv 1612.00593)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 8
"""Lowest number of channels of a layer whose width is scaled."""


class NormedLayer(nn.Module):
    """Linear map, layer normalisation without affine parameters, and ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of shape (..., C_in) to (..., C_out)."""
        y = self.linear(x)
        return F.layer_norm(y, y.shape[-1:]).relu()


class PointTransform(nn.Module):
    """A square matrix for each vector, by which the vector is multiplied.

    Args:
        channels: Channels of the vectors.
        widths: Channels of the hidden layers.
    """

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        sizes = (channels, *widths)
        self.layers = nn.Sequential(*(NormedLayer(*pair) for pair in pairwise(sizes)))
        self.matrix = nn.Linear(sizes[-1], channels * channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of shape (..., C) to the same shape."""
        matrix = self.matrix(self.layers(x)).unflatten(-1, (x.shape[-1], x.shape[-1]))
        product: Tensor = (x[..., None, :] @ matrix)[..., 0, :]
        return product


class LabelEncoder(nn.Module):
    """Embeddings of objects from their descriptors, each of which also sees the other objects of its image.

    The layers are those of a PointNet for segmentation: two transforms, a maximum over the set, and a layer on each
    vector and this maximum. The order of the objects changes nothing.

    Args:
        in_channels: Channels of a descriptor.
        out_channels: Channels of an embedding.
        width: Factor on the widths of the hidden layers (64, 128, 1024, 512 and 256).

    >>> encoder = LabelEncoder(7, 16, width=0.25)
    >>> encoder(torch.zeros(2, 3, 7), torch.ones(2, 3, dtype=torch.bool)).shape
    torch.Size([2, 3, 16])
    """

    def __init__(self, in_channels: int, out_channels: int, width: float = 1.0) -> None:
        super().__init__()
        narrow, middle, wide, half, last = (max(SMALLEST, round(width * size)) for size in (64, 128, 1024, 512, 256))
        hidden = (narrow, middle, wide, half, last)
        self.input_transform = PointTransform(in_channels, hidden)
        self.lift = NormedLayer(in_channels, narrow)
        self.feature_transform = PointTransform(narrow, hidden)
        self.widen = nn.Sequential(NormedLayer(narrow, middle), NormedLayer(middle, wide))
        self.fuse = nn.Sequential(NormedLayer(wide + narrow, last), NormedLayer(last, out_channels))

    def forward(self, descriptors: Tensor, valid: Tensor) -> Tensor:
        """Return embeddings.

        Args:
            descriptors: Shape (N, G, C_in).
            valid: Booleans, (N, G), False for padding, whose embedding means nothing.

        Returns:
            Shape (N, G, C_out).
        """
        points = self.feature_transform(self.lift(self.input_transform(descriptors)))
        # The values are not negative, so 0 in the place of padding leaves the maximum as it is.
        whole = self.widen(points).masked_fill(~valid[..., None], 0.0).amax(dim=1, keepdim=True)
        embeddings: Tensor = self.fuse(torch.cat([points, whole.expand(-1, points.shape[1], -1)], dim=-1))
        return embeddings
