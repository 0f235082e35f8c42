"""Points of maps, voxels and clouds: how many, which features, where."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_plugins.distillers import Batch
from kd_plugins.distillers.local_graph.point_readers import READERS, CloudReader, GridReader, VoxelReader
from kd_plugins.errors import ConfigError
from tests.distillers.local_graph.samples import voxel_batch


def images(*shapes: tuple[int, int], size: tuple[int, int] = (32, 64)) -> Batch:
    samples = [SimpleNamespace(metainfo={'img_shape': shape}) for shape in shapes]
    return Batch(torch.zeros(len(shapes), 3, *size), samples)


def test_locations_on_the_padding_are_left_out() -> None:
    reader = GridReader(images((32, 64), (17, 30)), 'k')
    x = torch.arange(2 * 4 * 8.0).view(2, 1, 4, 8)
    # A cell is 8 pixels: 17 rows of pixels reach into the third row, 30 columns into the fourth column.
    assert reader.sizes(x) == [32, 12]
    assert reader.rows(x)[:, 0].tolist() == [
        *range(32),
        *(32 + 8 * row + column for row in range(3) for column in range(4)),
    ]
    places = reader.coordinates(x, [x])
    assert places.shape == (44, 2) and places[32:36].tolist() == [[4, 4], [12, 4], [20, 4], [28, 4]]


def test_equal_images_are_read_without_a_loop_and_in_the_same_order() -> None:
    x = torch.randn(2, 3, 4, 8)
    whole, cut = images((32, 64), (32, 64)), images((16, 32), (16, 32))
    assert torch.equal(GridReader(whole, 'k').rows(x), x.movedim(1, 3).reshape(-1, 3))
    assert torch.equal(GridReader(cut, 'k').rows(x), x[:, :, :2, :4].movedim(1, 3).reshape(-1, 3))


def test_maps_without_images_are_measured_in_cells() -> None:
    reader = GridReader(Batch({'points': []}, [None]), 'k')
    x = torch.zeros(1, 2, 2, 3)
    assert reader.sizes(x) == [6] and reader.coordinates(x, [x])[:3].tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5]]


def test_no_image() -> None:
    reader, x = GridReader(images(), 'k'), torch.zeros(0, 3, 4, 8)
    assert reader.sizes(x) == [] and reader.rows(x).shape == (0, 3) and reader.coordinates(x, [x]).shape == (0, 2)


def test_voxels_are_sorted_by_sample() -> None:
    reader = VoxelReader(voxel_batch([1, 0, 1, 0]), 'k')
    x = torch.tensor([[10.0], [11.0], [12.0], [13.0]])
    assert reader.sizes(x) == [2, 2] and reader.rows(x)[:, 0].tolist() == [11, 13, 10, 12]
    # Voxel i lies at x = i, y = 2 i and holds i + 1 points.
    assert reader.coordinates(x, [x]).tolist() == [[1, 2, 0], [3, 6, 0], [0, 0, 0], [2, 4, 0]]
    assert reader.counts(x).tolist() == [2, 4, 1, 3]


def test_a_sample_without_voxels() -> None:
    assert VoxelReader(voxel_batch([0, 2], samples=4), 'k').sizes(torch.zeros(2, 1)) == [1, 0, 1, 0]


def test_layers_that_return_coordinates_before_features() -> None:
    places, features, indices = torch.randn(2, 5, 3), torch.randn(2, 4, 5), torch.zeros(2, 5, dtype=torch.long)
    tensors = [places, features, indices]
    reader = CloudReader(Batch({'points': []}, [None, None]), 'k')
    assert [x is features for x in reader.levels(tensors)] == [True]
    assert reader.sizes(features) == [5, 5] and torch.equal(reader.rows(features)[5], features[1, :, 0])
    assert torch.equal(reader.coordinates(features, tensors), places.flatten(0, 1))


def test_raw_points_where_there_are_as_many() -> None:
    clouds = [torch.randn(5, 4), torch.randn(5, 4)]
    features = torch.randn(2, 3, 5)
    reader = CloudReader(Batch({'points': clouds}, [None, None]), 'k')
    assert torch.equal(reader.coordinates(features, [features]), torch.cat(clouds)[:, :3])


@pytest.mark.parametrize(
    ('kind', 'batch', 'shape', 'sentence'),
    [
        (
            'voxel',
            Batch(torch.zeros(1), [None]),
            (2, 3),
            r"k.points is 'voxel', which reads inputs\['voxels'\]\['coors'\]",
        ),
        ('voxel', voxel_batch([0, 0]), (3, 3), 'the layer gives 3 rows for 2 voxels; tap the voxel encoder'),
        (
            'point',
            Batch({'points': [torch.zeros(4, 3)]}, [None]),
            (1, 3, 5),
            'k.space needs coordinates, .* its 5 points',
        ),
    ],
)
def test_sentences(kind: str, batch: Batch, shape: tuple[int, ...], sentence: str) -> None:
    reader: Any = READERS[kind](batch, 'k')
    x = torch.zeros(shape)
    with pytest.raises(ConfigError, match=sentence):
        reader.rows(x), reader.coordinates(x, [x])
