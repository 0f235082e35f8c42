"""Drawing of local graphs: positions, weights and lines follow the arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kd_plugins.distillers.local_graph.graphs import LocalGraph
from kd_plugins.visualization import GraphPicture, draw_graph, draw_graph_bev, picture_of, voxel_centers

pytest.importorskip('matplotlib')

PLACES = np.array([[10.0, 5.0], [30.0, 5.0], [50.0, 25.0], [70.0, 15.0], [90.0, 25.0]])
LEVEL = GraphPicture(
    'level 2', PLACES, np.array([1, 4, 2]), np.array([[1, 0], [4, 3], [2, 3]]), np.array([0.2, 0.7, 0.1])
)
IMAGE = np.random.default_rng(0).integers(0, 255, (30, 100, 3)).astype(np.uint8)


def check_panels(selected: Any, edges: Any, background: int) -> None:
    """Check what is drawn over ``background`` collections."""
    (dots,) = selected.collections[background:]
    order = [1, 0, 2][::-1]
    np.testing.assert_allclose(dots.get_offsets(), PLACES[LEVEL.centers[order]])
    np.testing.assert_allclose(dots.get_array(), 3 * LEVEL.weights[order])
    assert selected.get_title() == 'level 2: 3 points selected, 2 share the weight'
    lines = [part for part in edges.collections[background:] if hasattr(part, 'get_segments')]
    for index, drawn in zip([1, 0], lines, strict=True):
        center = PLACES[LEVEL.centers[index]]
        wanted = [[center, PLACES[near]] for near in LEVEL.neighbours[index]]
        np.testing.assert_allclose(drawn.get_segments(), wanted)
    assert edges.get_title() == '2 neighbours of the heaviest 2'


def test_graph_on_an_image(tmp_path: Any) -> None:
    figure = draw_graph(IMAGE, [LEVEL, LEVEL._replace(title='level 3')], top=2)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 4
    np.testing.assert_array_equal(panels[0].images[0].get_array(), IMAGE)
    check_panels(panels[0], panels[1], background=0)
    assert panels[2].get_title().startswith('level 3')
    figure.savefig(tmp_path / 'graph.png')
    assert (tmp_path / 'graph.png').stat().st_size > 0


def test_graph_seen_from_above() -> None:
    cloud = np.random.default_rng(1).uniform(0, 100, (50, 4))
    figure = draw_graph_bev(cloud, [LEVEL], limits=(0, -10, 100, 40), top=2)
    selected, edges = figure.axes[:2]
    np.testing.assert_allclose(selected.collections[0].get_offsets(), cloud[:, :2])
    check_panels(selected, edges, background=1)
    assert selected.get_xlim() == (0, 100) and edges.get_ylim() == (-10, 40)


def test_more_neighbours_wanted_than_points_and_no_points() -> None:
    draw_graph(IMAGE, [LEVEL], top=20)
    empty = LEVEL._replace(
        places=np.zeros((0, 2)), centers=np.zeros(0, int), neighbours=np.zeros((0, 0), int), weights=np.zeros(0)
    )
    figure = draw_graph(IMAGE, [empty])
    assert any(axes.get_title() == 'level 2: 0 points selected, 0 share the weight' for axes in figure.axes)


def test_the_sample_of_a_batch() -> None:
    first = LocalGraph(torch.tensor([[0], [3]]), torch.tensor([[[0, 1]], [[3, 4]]]), torch.tensor([[1.0], [0.5]]))
    second = LocalGraph(torch.tensor([[7, 8]]), torch.tensor([[[7], [8]]]), torch.tensor([[0.25, 0.75]]))
    places = torch.arange(30.0).view(10, 3)
    actual = [picture_of('x', [first, second], places, sample) for sample in range(3)]
    assert [part.centers.tolist() for part in actual] == [[0], [3], [7, 8]]
    assert actual[1].neighbours.tolist() == [[3, 4]] and actual[2].weights.tolist() == [0.25, 0.75]
    np.testing.assert_allclose(actual[0].places, places[:, :2])
    with pytest.raises(IndexError):
        picture_of('x', [first, second], places, 3)


def test_voxels_lie_where_mmdetection3d_puts_them() -> None:
    centers = voxel_centers(np.array([[0.0, 0.0], [3.0, 1.0]]), [0.16, 0.32, 4], [0, -39.68, -3, 69.12, 39.68, 1])
    np.testing.assert_allclose(centers, [[0.08, -39.52], [0.56, -39.2]])
