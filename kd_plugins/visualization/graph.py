"""Drawing of local graphs: selected points, their weights and their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..distillers.local_graph.graphs import LocalGraph
from ..utils.figures import new_figure

Array = NDArray[Any]

SIDE = 5.5
"""Width of a panel in inches."""
DOT = 14.0
"""Area of a dot in square points."""
CLOUD = '0.6'
"""Grey of a LiDAR point."""


class GraphPicture(NamedTuple):
    """Graph of one sample at one level, as it is drawn."""

    title: str
    """Title of the panels."""
    places: Array
    """Positions of the points of all samples in the picture, (n, 2)."""
    centers: Array
    """Indices of the selected points, (N,)."""
    neighbours: Array
    """Indices of their neighbours, (N, K)."""
    weights: Array
    """Weights of the selected points, (N,)."""


def picture_of(title: str, graphs: Sequence[LocalGraph], places: Tensor, sample: int = 0) -> GraphPicture:
    """Return the graph of one sample.

    Args:
        title: Title of the panels.
        graphs: Graphs of one level, from :meth:`~kd_plugins.distillers.LocalGraphDistiller.graphs`.
        places: Coordinates from :meth:`~kd_plugins.distillers.LocalGraphDistiller.places`, (V, D), of which the first
            two are drawn.
        sample: Index of the sample in the batch.

    Raises:
        IndexError: If there is no such sample.
    """
    for graph in graphs:
        if sample < len(graph.centers):
            parts = [part[sample].cpu().numpy() for part in graph]
            return GraphPicture(title, places[:, :2].float().cpu().numpy(), *parts)
        sample -= len(graph.centers)
    raise IndexError(f'the index is {sample + 1} above the last sample of the graphs')


def voxel_centers(places: Array, voxel_size: Sequence[float], point_cloud_range: Sequence[float]) -> Array:
    """Return the centres of voxels in metres.

    Args:
        places: Indices (x, y) of the voxels, (n, 2).
        voxel_size: Size (x, y, ...) of a voxel in metres.
        point_cloud_range: Corner (x, y, ...) of the first voxel in metres.

    >>> voxel_centers(np.array([[0.0, 2.0]]), [0.5, 0.5, 4.0], [10.0, -5.0, -3.0])
    array([[10.25, -3.75]])
    """
    return (places + 0.5) * np.asarray(voxel_size[:2], float) + np.asarray(point_cloud_range[:2], float)


def _draw(levels: Sequence[GraphPicture], top: int, background: Callable[[Any], None], shape: float) -> Any:
    """Draw two panels per level: all selected points, and the neighbours of the points with the highest weights."""
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    figure = new_figure(2 * SIDE, SIDE * shape * len(levels))
    panels = figure.subplots(len(levels), 2, squeeze=False)
    palette = colormaps['tab10']
    for (selected, edges), level in zip(panels, levels):
        for axes in (selected, edges):
            background(axes)
        points, heaviest = level.places[level.centers], np.argsort(-level.weights, kind='stable')
        # The highest weights are drawn last, on top. They are shown relative to the mean weight.
        order = heaviest[::-1]
        shares = level.weights * max(len(order), 1)
        size = DOT * min(1.0, 300 / max(len(order), 1))
        dots = selected.scatter(*points[order].T, c=shares[order], s=size, cmap='viridis', linewidths=0)
        figure.colorbar(dots, ax=selected, label='weight, in means', shrink=0.8)
        count = len(order)
        support = level.weights.sum() ** 2 / max((level.weights**2).sum(), 1e-12)
        selected.set_title(f'{level.title}: {count} points selected, {support:.0f} share the weight', fontsize=9)
        for rank, index in enumerate(heaviest[:top]):
            color, near = palette(rank % 10), level.places[level.neighbours[index]]
            lines = [(points[index], place) for place in near]
            edges.add_collection(LineCollection(lines, colors=[color], linewidths=0.8, alpha=0.8))
            edges.scatter(*near.T, s=DOT / 2, color=[color], linewidths=0)
            edges.scatter(*points[index], s=4 * DOT, color=[color], edgecolors='white', linewidths=0.8)
        number = level.neighbours.shape[1] if level.neighbours.size else 0
        edges.set_title(f'{number} neighbours of the heaviest {min(top, count)}', fontsize=9)
    return figure


def draw_graph(image: Array, levels: Sequence[GraphPicture], top: int = 6) -> Any:
    """Draw local graphs on an image.

    Every level has a row of two panels: all selected points, coloured by their weight, and lines from the points with
    the highest weights to their neighbours.

    Args:
        image: RGB image, (H, W, 3), uint8.
        levels: Graphs with places in pixels of the image.
        top: Number of points whose neighbours are drawn.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """

    def background(axes: Any) -> None:
        axes.imshow(image)
        axes.set_axis_off()

    return _draw(levels, top, background, image.shape[0] / image.shape[1])


def draw_graph_bev(cloud: Array, levels: Sequence[GraphPicture], limits: Sequence[float], top: int = 6) -> Any:
    """Draw local graphs on a LiDAR frame seen from above, as :func:`draw_graph` does on an image.

    Args:
        cloud: Points of the frame, (P, 2 or more), x and y in metres.
        levels: Graphs with places in metres (:func:`voxel_centers`).
        limits: (x1, y1, x2, y2) of the area that is shown, in metres.
        top: Number of points whose neighbours are drawn.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    x1, y1, x2, y2 = limits

    def background(axes: Any) -> None:
        axes.scatter(cloud[:, 0], cloud[:, 1], s=0.3, c=CLOUD, linewidths=0, rasterized=True)
        axes.set_xlim(x1, x2)
        axes.set_ylim(y1, y2)
        axes.set_aspect('equal')
        axes.set_xlabel('x (m)')
        axes.set_ylabel('y (m)')

    return _draw(levels, top, background, (y2 - y1) / (x2 - x1))
