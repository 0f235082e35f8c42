"""Instructive maps: what a pyramid would look like if it knew the labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...ops.map_norm import normalized_images
from .encoder import LabelEncoder
from .objects import Objects
from .projections import LevelProjections

GUIDES = ('appearance', 'labels')
"""Vectors that ask in the attention between objects, see :class:`Instructor`."""
Inside = Tensor | None
"""Booleans (N, 1, H, W) of a level, False on padding; None where no image has padding."""


def masked(x: Tensor, inside: Inside) -> Tensor:
    """Return maps (N, C, H, W) with 0 on padding, as a convolution pads the edges of a map."""
    return x if inside is None else x * inside.to(x.dtype)


def object_means(x: Tensor, cells: Tensor) -> Tensor:
    r"""Return the mean of a map in the cells of each object.

    .. math:: a_{nj} = \frac{\sum_p M_{njp} \, x_{np}}{\max(1, \sum_p M_{njp})}

    Args:
        x: Map :math:`x`, (N, C, H, W).
        cells: :math:`M`, (N, G, H, W), 1 in an object and 0 elsewhere.

    Returns:
        Shape (N, G, C), 0 for an object without cells.

    >>> object_means(torch.tensor([[[[1.0, 3.0, 8.0]]]]), torch.tensor([[[[1.0, 1.0, 0.0]]]]))
    tensor([[[2.]]])
    """
    rows = cells.flatten(2)
    return torch.bmm(rows, x.flatten(2).transpose(1, 2)) / rows.sum(dim=-1, keepdim=True).clamp(min=1.0)


def painted(values: Tensor, cells: Tensor, mean: bool = True) -> Tensor:
    r"""Return a map with the vector of each object in its cells.

    .. math:: x_{np} = \frac{\sum_j M_{njp} \, v_{nj}}{\max(1, \sum_j M_{njp})}

    Args:
        values: Vectors :math:`v`, (N, G, C).
        cells: :math:`M`, (N, G, H, W), 1 in an object and 0 elsewhere.
        mean: Whether objects that overlap are averaged; otherwise they are added, without the divisor.

    Returns:
        Shape (N, C, H, W), 0 where no object is.

    >>> painted(torch.tensor([[[2.0], [4.0]]]), torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]]])).flatten()
    tensor([2., 3., 0.])
    """
    total = torch.bmm(values.transpose(1, 2), cells.flatten(2)).unflatten(-1, cells.shape[2:])
    return total / cells.sum(dim=1, keepdim=True).clamp(min=1.0) if mean else total


class ObjectAttention(nn.Module):
    """Multi-head attention between the objects of an image, without a residual connection.

    Args:
        channels: Channels of the vectors, a multiple of ``num_heads``.
        num_heads: Number of heads.

    >>> one = torch.ones(1, 2, 4)
    >>> ObjectAttention(4, 2)(one, one, torch.tensor([[True, False]])).shape
    torch.Size([1, 2, 4])
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, num_heads, batch_first=True)

    def forward(self, query: Tensor, key: Tensor, valid: Tensor) -> Tensor:
        """Return what each query gathers from the objects of its image.

        Args:
            query: Shape (N, Q, C).
            key: Shape (N, G, C), keys and values.
            valid: Booleans, (N, G), False for padding, which nothing is gathered from. An image without any object
                gathers from padding, and its result means nothing.

        Returns:
            Shape (N, Q, C).
        """
        empty = ~valid.any(dim=1, keepdim=True)
        gathered: Tensor = self.attention(query, key, key, key_padding_mask=~(valid | empty), need_weights=False)[0]
        return gathered

    def shares(self, query: Tensor, key: Tensor, valid: Tensor) -> Tensor:
        """Return from which objects each query gathers, the mean over the heads, (N, Q, G).

        Args:
            query: Shape (N, Q, C).
            key: Shape (N, G, C).
            valid: Booleans, (N, G), False for padding.
        """
        empty = ~valid.any(dim=1, keepdim=True)
        shares: Tensor = self.attention(query, key, key, key_padding_mask=~(valid | empty))[1]
        return shares


class MapLayers(nn.Module):
    """Convolutions of size 3 in a row, with ReLU in between, which see 0 on padding.

    Args:
        channels: Channels of the maps.
        depth: Number of convolutions.
        normalized: Whether the output of each convolution is normalised over each image.
    """

    def __init__(self, channels: int, depth: int, normalized: bool) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
        self.normalized = normalized

    def forward(self, x: Tensor, inside: Inside) -> Tensor:
        """Map ``x`` of shape (N, C, H, W) to the same shape, 0 on padding."""
        for index, convolution in enumerate(self.convolutions):
            x = convolution(masked(x.relu() if index else x, inside))
            x = normalized_images(x, inside) if self.normalized else x
        return masked(x, inside)


class Instructor(nn.Module):
    """The teacher of LGD (arXiv 2109.11496), made of labels and of the student's own maps.

    Objects are encoded from what the labels say about them. In each level, the appearance of an object, the mean of the
    student's map in its cells, chooses by attention which embeddings of the image it mixes. The result is painted into
    the cells of the object and refined to a map of the same shape as the student's.

    Args:
        channels: Channels of the map of each level.
        descriptor_size: Numbers in the descriptor of an object.
        context: Whether each image is an object itself, the first one, whose vector is added everywhere.
        num_heads: Heads of the attention.
        width: Factor on the widths of the encoder.
        guide: ``'appearance'``: it asks, and embeddings of the labels answer. ``'labels'``: the other way round.
        mean: Whether objects that overlap are averaged, and not added as in the release.
        inner: Channels inside, with a linear map before and after; None: those of the maps, the same in all levels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        descriptor_size: int,
        context: bool = True,
        num_heads: int = 8,
        width: float = 1.0,
        guide: str = 'appearance',
        mean: bool = True,
        inner: int | None = None,
    ) -> None:
        super().__init__()
        self.guide, self.mean = guide, mean
        size = channels[0] if inner is None else inner
        self.encoder = LabelEncoder(descriptor_size, size, width)
        self.appearance = MapLayers(size, 1, normalized=True)
        self.relation = ObjectAttention(size, num_heads)
        self.paint = nn.Linear(size, size)
        self.surround = nn.Linear(size, size) if context else None
        self.mapping = MapLayers(size, 1, normalized=False)
        self.refinement = MapLayers(size, 3, normalized=True)
        self.projections = None if inner is None else LevelProjections(channels, inner)

    def forward(self, levels: Sequence[Tensor], objects: Objects, insides: Sequence[Inside]) -> list[Tensor]:
        """Return the instructive map of each level.

        Args:
            levels: The student's maps, (N, C, H, W).
            objects: Objects of the batch.
            insides: Which cells of each level lie on the images.

        Returns:
            Maps of the same shapes.
        """
        levels = levels if self.projections is None else self.projections.enter(levels)
        embeddings, cells, looks = self._seen(levels, objects, insides)
        maps = [
            self._map(related, objects, covered, inside)
            for related, covered, inside in zip(self.related(looks, embeddings, objects.valid), cells, insides)
        ]
        if self.projections is None:
            return maps
        return [masked(x, inside) for x, inside in zip(self.projections.leave(maps), insides)]

    def _seen(
        self, levels: Sequence[Tensor], objects: Objects, insides: Sequence[Inside]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return the embeddings of the objects, and their cells and appearance in each level."""
        embeddings = self.encoder(objects.descriptors, objects.valid)
        cells = [objects.cells(x.shape[2:], inside) for x, inside in zip(levels, insides)]
        looks = [
            object_means(self.appearance(x, inside).relu(), covered)
            for x, inside, covered in zip(levels, insides, cells)
        ]
        return embeddings, cells, looks

    def related(self, looks: Sequence[Tensor], embeddings: Tensor, valid: Tensor) -> list[Tensor]:
        """Return the vector of each object in each level, (N, G, C), from the attention between objects.

        Args:
            looks: Appearance of each object in each level, (N, G, C).
            embeddings: Embedding of each object, (N, G, C).
            valid: Booleans, (N, G), False for padding.
        """
        if self.guide == 'labels':
            return [self.relation(embeddings, look, valid) for look in looks]
        # One call answers the objects of all levels, as they ask the same embeddings.
        answers: Tensor = self.relation(torch.cat(list(looks), dim=1), embeddings, valid)
        return list(answers.chunk(len(looks), dim=1))

    @torch.no_grad()
    def explained(
        self, levels: Sequence[Tensor], objects: Objects, insides: Sequence[Inside]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return for each level what each object mixes and where it is painted, for pictures.

        Args:
            levels: The student's maps, (N, C, H, W).
            objects: Objects of the batch.
            insides: Which cells of each level lie on the images.

        Returns:
            For each level the shares of the objects that answer, (N, G, G), with the one that asks first; and its
            cells, (N, G, H, W).
        """
        levels = levels if self.projections is None else self.projections.enter(levels)
        embeddings, cells, looks = self._seen(levels, objects, insides)
        pairs = [(embeddings, look) if self.guide == 'labels' else (look, embeddings) for look in looks]
        return [
            (self.relation.shares(query, key, objects.valid), covered) for (query, key), covered in zip(pairs, cells)
        ]

    def _map(self, related: Tensor, objects: Objects, cells: Tensor, inside: Inside) -> Tensor:
        own = cells * objects.real[..., None, None]
        x = self.mapping(painted(self.paint(related), own, mean=self.mean), inside)
        if self.surround is not None:
            x = x + self.surround(related[:, 0])[..., None, None]
        refined: Tensor = self.refinement(x.relu(), inside)
        return refined
