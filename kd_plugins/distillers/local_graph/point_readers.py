"""Readers that turn the output of a layer into sets of points with features, one set per sample.

``'grid'``
    Feature maps (N, C, H, W) of images or bird's-eye views. A point is a location; locations on an image's padding are
    left out. Coordinates are (x, y) in pixels of the network's input, or in cells where there is no input image.
``'voxel'``
    Pillars or voxels (V, C) of a whole batch. ``batch.inputs['voxels']`` of MMDetection3D holds the sample of each
    voxel (first column of ``coors``), its coordinates (the other columns, z y x) and its number of points
    (``num_points``). Student and teacher get the same voxels, since MMDetection3D makes them in the data preprocessor.
``'point'``
    Points (N, C, P), as PointNet++ gives them. Their coordinates are those that the layer returns as well (N, P, 3), as
    the set abstractions of PointNet++ do; otherwise those of the raw points, if there are equally many.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from ...errors import ConfigError
from ..base import Batch
from ..locations import grid_on_images, input_size


class PointReader:
    """Base of the readers; one reader reads one batch.

    Args:
        batch: The batch.
        key: Config key of the distiller, for error sentences.
    """

    shape = ''
    """Shape that the layer's output must have."""
    ndim = 0
    """Number of dimensions of this shape."""
    fix = "set points='grid' for (N, C, H, W), 'voxel' for (V, C), 'point' for (N, C, P), or tap another layer"

    def __init__(self, batch: Batch, key: str) -> None:
        self.batch = batch
        self.key = key

    @staticmethod
    def levels(tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the tensors of a tap that hold features."""
        return list(tensors)

    def sizes(self, x: Tensor) -> list[int]:
        """Return the number of points of each sample."""
        raise NotImplementedError

    def rows(self, x: Tensor) -> Tensor:
        """Return the features of all samples' points, one sample after another, (V, C)."""
        raise NotImplementedError

    def coordinates(self, x: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Return the coordinates of the points, (V, D).

        Args:
            x: A level.
            tensors: All outputs of the tap.
        """
        raise NotImplementedError

    def counts(self, x: Tensor) -> Tensor:
        """Return the number of raw points in each point, (V,)."""
        raise NotImplementedError


class GridReader(PointReader):
    """Reader of feature maps."""

    shape = '(N, C, H, W)'
    ndim = 4

    def _inside(self, x: Tensor) -> list[tuple[int, int]]:
        return grid_on_images(self.batch, x.shape[2:], x.shape[0])

    def sizes(self, x: Tensor) -> list[int]:
        """Return the number of locations on each image."""
        return [height * width for height, width in self._inside(x)]

    def rows(self, x: Tensor) -> Tensor:
        """Return the features of the locations on images, (V, C)."""
        inside = self._inside(x)
        if len(set(inside)) > 1:
            return torch.cat([image[:, :h, :w].flatten(1).T for image, (h, w) in zip(x, inside)])
        height, width = inside[0] if inside else x.shape[2:]
        return x[:, :, :height, :width].movedim(1, 3).flatten(0, 2)

    def coordinates(self, x: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Return the centres (x, y) of the locations on images, (V, 2)."""
        full = input_size(self.batch) or x.shape[2:]
        steps = [size / max(cells, 1) for size, cells in zip(full, x.shape[2:])]
        centers = [x.new_zeros(0, 2)]
        for size in self._inside(x):
            ys, xs = (
                (torch.arange(cells, device=x.device, dtype=x.dtype) + 0.5) * step for cells, step in zip(size, steps)
            )
            centers.append(torch.stack(torch.meshgrid(xs, ys, indexing='xy'), dim=-1).flatten(0, 1))
        return torch.cat(centers)


class VoxelReader(PointReader):
    """Reader of pillars or voxels."""

    shape = '(V, C)'
    ndim = 2

    def _voxels(self, name: str) -> Tensor:
        inputs = self.batch.inputs
        voxels = inputs.get('voxels') if isinstance(inputs, dict) else None
        if voxels is None or name not in voxels:
            raise ConfigError(
                f"{self.key}.points is 'voxel', which reads inputs['voxels']['{name}'] of MMDetection3D's hard "
                f'voxelization, and the batch has none; {self.fix}'
            )
        tensor: Tensor = voxels[name]
        return tensor

    @cached_property
    def _order(self) -> Tensor:
        """Order of the voxels, sample after sample."""
        return self._voxels('coors')[:, 0].argsort(stable=True)

    @cached_property
    def _sizes(self) -> list[int]:
        # The numbers must be known on the host, which is one wait for the device.
        samples = self._voxels('coors')[:, 0].long()
        sizes: list[int] = torch.bincount(samples, minlength=self.batch.num_images).tolist()
        return sizes

    def sizes(self, x: Tensor) -> list[int]:
        """Return the number of voxels of each sample."""
        return self._sizes

    def rows(self, x: Tensor) -> Tensor:
        """Return the features of the voxels, (V, C)."""
        count = len(self._voxels('coors'))
        if len(x) != count:
            raise ConfigError(
                f"{self.key}.points is 'voxel', and the layer gives {len(x)} rows for {count} voxels; "
                'tap the voxel encoder'
            )
        return x.index_select(0, self._order)

    def coordinates(self, x: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Return the indices (x, y, z) of the voxels, (V, 3)."""
        return self._voxels('coors')[:, 1:].flip(-1).to(x.dtype).index_select(0, self._order)

    def counts(self, x: Tensor) -> Tensor:
        """Return the number of points in each voxel, (V,)."""
        return self._voxels('num_points').to(x.dtype).index_select(0, self._order)


class CloudReader(PointReader):
    """Reader of points, and of their coordinates where the layer returns them before the features."""

    shape = '(N, C, P)'
    ndim = 3

    @staticmethod
    def _are_coordinates(tensors: Sequence[Tensor], index: int) -> bool:
        this, after = tensors[index], tensors[index + 1 : index + 2]
        return this.shape[2:] == (3,) and bool(after) and after[0].shape[2:] == this.shape[1:2]

    @staticmethod
    def levels(tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the tensors that hold features, without coordinates and indices."""
        return [
            x
            for index, x in enumerate(tensors)
            if x.is_floating_point() and not CloudReader._are_coordinates(tensors, index)
        ]

    def sizes(self, x: Tensor) -> list[int]:
        """Return the number of points of each sample."""
        return [x.shape[2]] * x.shape[0]

    def rows(self, x: Tensor) -> Tensor:
        """Return the features of the points, (V, C)."""
        return x.movedim(1, 2).flatten(0, 1)

    def coordinates(self, x: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Return (x, y, z) of the points, (V, 3)."""
        index = next(i for i, tensor in enumerate(tensors) if tensor is x)
        if index and self._are_coordinates(tensors, index - 1):
            return tensors[index - 1].flatten(0, 1)
        raw = self.batch.inputs.get('points') if isinstance(self.batch.inputs, dict) else None
        if raw is None or any(len(cloud) != x.shape[2] for cloud in raw):
            raise ConfigError(
                f'{self.key}.space needs coordinates, and neither the layer nor the input has any for its '
                f"{x.shape[2]} points; nearest: 'feature'"
            )
        return torch.cat([cloud[:, :3].to(x) for cloud in raw])


READERS: dict[str, type[PointReader]] = {'grid': GridReader, 'voxel': VoxelReader, 'point': CloudReader}
"""Value of ``points`` in the config to its reader."""
