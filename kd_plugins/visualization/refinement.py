"""Drawing of the refinement of boxes by FDR: the box of every layer and its four edge distributions.

The picture follows that of the paper of D-FINE (arXiv 2410.13842, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ..utils.figures import new_figure
from .pictures import Array, softmax

if TYPE_CHECKING:
    from ..models.dfine import Refinement

EDGES = ('left', 'top', 'right', 'bottom')
INITIAL = 'tab:red'  # not in the colour map of the layers
OUTLINE = 1.6
"""Line width of a box."""


@contextmanager
def record_refinement(decoder: nn.Module) -> Iterator[list[tuple[Tensor, Refinement]]]:
    """Record the outputs of a decoder with FDR while the context is open.

    Args:
        decoder: Decoder of the detector, ``model.decoder``, which is not changed.

    Yields:
        List with hidden states (L, N, Q, C) and :class:`~kd_plugins.models.dfine.Refinement` of every pass. It grows
        while the model runs.
    """
    passes: list[tuple[Tensor, Refinement]] = []

    def keep(module: nn.Module, inputs: Any, output: tuple[Tensor, Refinement]) -> None:
        passes.append(output)

    handle = decoder.register_forward_hook(keep)
    try:
        yield passes
    finally:
        handle.remove()


def best_queries(scores: Array, top: int, threshold: float = 0.0) -> Array:
    """Return the queries with the highest class scores, best first.

    Args:
        scores: Probabilities, (Q, C).
        top: Largest number of queries.
        threshold: Smallest value of a query's highest score.

    Returns:
        Indices, (K,) with K at most ``top``.

    >>> best_queries(np.array([[0.1, 0.4], [0.9, 0.2], [0.3, 0.1]]), top=2, threshold=0.35)
    array([1, 0])
    """
    highest = scores.max(axis=-1)
    order = np.argsort(-highest, kind='stable')[:top]
    return order[highest[order] >= threshold]


def pixel_corners(boxes: Array, img_shape: Sequence[int], scale_factor: Sequence[float] = (1.0, 1.0)) -> Array:
    """Return normalised boxes as corners in pixels of the original image.

    Args:
        boxes: (cx, cy, w, h) relative to the network's input image, (..., 4).
        img_shape: Height and width of the input image, without padding.
        scale_factor: Width and height of the input image over those of the original image.

    Returns:
        (x1, y1, x2, y2), (..., 4), not clipped to the image.

    >>> pixel_corners(np.array([0.5, 0.5, 0.2, 0.5]), img_shape=(240, 320), scale_factor=(0.5, 0.5))
    array([256., 120., 384., 360.])
    """
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    height, width = img_shape[:2]
    size = np.array([width, height], float) / np.asarray(scale_factor, float)
    return np.concatenate([(center - half) * size, (center + half) * size], axis=-1)


def draw_box(axes: Any, corners: Array, **style: Any) -> None:
    """Draw the outline of a box on axes that show an image."""
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = (float(value) for value in corners)
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **style))


def look_at(axes: Any, corners: Array, margin: float = 0.35) -> None:
    """Set the limits of axes that show an image to a square around boxes.

    Args:
        axes: The axes.
        corners: (x1, y1, x2, y2) of the boxes, (K, 4).
        margin: Margin around the boxes, relative to the longer side of their bounding box.
    """
    points = corners.reshape(-1, 2)  # opposite edges may have crossed
    low, high = points.min(axis=0), points.max(axis=0)
    side = float((high - low).max())
    x, y = (low + high) / 2
    reach = side / 2 + max(margin * side, 4.0)
    axes.set_xlim(x - reach, x + reach)
    axes.set_ylim(y + reach, y - reach)


def draw_refinement(
    image: Array,
    initial: Array,
    boxes: Array,
    logits: Array,
    bins: Array,
    reg_scale: float,
    captions: Sequence[str],
) -> Any:
    """Draw how the decoder layers move the boxes of some queries.

    The first axes show the image with the last box of each query. Every query has a row of five axes: the part of the
    image around its boxes, the initial box dashed and one colour per layer from dark to bright, and the distributions
    of its left, top, right and bottom edge over the offset :math:`W(n) / s` in box sizes, positive outwards. A dotted
    line marks the expected offset.

    Args:
        image: RGB image, (H, W, 3), uint8.
        initial: Initial boxes, (x1, y1, x2, y2) in pixels of the image, (K, 4).
        boxes: Boxes of every layer, likewise, (L, K, 4).
        logits: Edge distributions, (L, K, 4, N + 1).
        bins: Offsets :math:`W(n)` from :func:`~kd_plugins.ops.edge_bins.weighting_function`, (N + 1,).
        reg_scale: :math:`s`, see :func:`~kd_plugins.ops.edge_bins.weighting_function`.
        captions: Title of each query's row, K.

    Returns:
        A ``matplotlib.figure.Figure`` with ``1 + 5 * K`` axes in the order above.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    layers, rows = boxes.shape[:2]
    figure = new_figure(19.0, 0.9 + 2.7 * rows)
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    colors = [colormaps['viridis'](value) for value in np.linspace(0.0, 0.9, layers)]
    grid = figure.add_gridspec(rows, 6, width_ratios=[2.2, 1.6, 1, 1, 1, 1])

    overview = figure.add_subplot(grid[:, 0])
    overview.imshow(image)
    overview.set_axis_off()
    for row in range(rows):
        corners = boxes[-1, row]
        draw_box(overview, corners, edgecolor=colors[-1], linewidth=OUTLINE)
        style = dict(facecolor=colors[-1], edgecolor='none', pad=1.0)
        overview.text(corners[0], corners[1], str(row + 1), fontsize=8, va='bottom', bbox=style, clip_on=True)

    offsets, probabilities = bins / reg_scale, softmax(logits)
    expected = (probabilities * offsets).sum(axis=-1)
    for row in range(rows):
        closeup = figure.add_subplot(grid[row, 1])
        closeup.imshow(image)
        closeup.set_axis_off()
        closeup.set_title(f'{row + 1}: {captions[row]}', fontsize=9)
        draw_box(closeup, initial[row], edgecolor=INITIAL, linewidth=OUTLINE, linestyle='--')
        for layer in range(layers):
            draw_box(closeup, boxes[layer, row], edgecolor=colors[layer], linewidth=OUTLINE)
        look_at(closeup, np.concatenate([initial[row][None], boxes[:, row]]))

        first = None
        for edge, name in enumerate(EDGES):
            axes = first = figure.add_subplot(grid[row, 2 + edge], sharey=first)
            for layer in range(layers):
                curve = probabilities[layer, row, edge]
                axes.plot(offsets, curve, color=colors[layer], marker='.', markersize=3, linewidth=1.2)
                axes.axvline(expected[layer, row, edge], color=colors[layer], linestyle=':', linewidth=1.0)
            axes.set_ylim(0.0, 1.05 * float(probabilities[:, row].max()))
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=7)
            if edge:
                axes.tick_params(labelleft=False)
            if row == 0:
                axes.set_title(name, fontsize=9)
            if row == rows - 1:
                axes.set_xlabel('offset in box ' + ('heights' if edge % 2 else 'widths'), fontsize=8)
    handles = [Line2D([], [], color=INITIAL, linestyle='--', label='initial')]
    handles += [Line2D([], [], color=color, label=f'layer {number + 1}') for number, color in enumerate(colors)]
    figure.legend(handles=handles, loc='outside lower center', ncols=len(handles), fontsize=9, frameon=False)
    return figure
