"""Exact overlaps of upright 3-D boxes that are rotated about the vertical axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError

Array = NDArray[np.float64]


def rectangle_intersections(first: ArrayLike, second: ArrayLike) -> Array:
    r"""Return the area of the intersection of each pair of rotated rectangles.

    In the frame of the first rectangle, of half extents :math:`a, b`, Green's theorem turns the area of the
    intersection into an integral along the edges of the second one, in which clamping the coordinates replaces
    clipping:

    .. math::
        A = \oint_{\partial R_2} X \, \mathrm{d}Y, \qquad
        X = \min(\max(x, -a), a), \quad Y = \min(\max(y, -b), b)

    Along an edge both are linear between the points where it crosses :math:`x = \pm a` and :math:`y = \pm b`. The area
    therefore depends continuously on both rectangles, without special cases for equal or touching rectangles.

    Args:
        first: Centre x, y, length, width and the angle in radians by which the length is rotated counter-clockwise from
            the x axis, shape (N, 5).
        second: Rectangles likewise, shape (M, 5).

    Returns:
        Shape (N, M), in float64.

    Raises:
        ConfigError: If a shape does not fit.

    >>> square, turned = [[0, 0, 2, 2, 0]], [[1, 0, 2, 2, np.pi / 2]]
    >>> rectangle_intersections(square, turned).round(6).tolist()
    [[2.0]]
    """
    one, two = _rows(first, 5), _rows(second, 5)
    # Corners of the second rectangles, counter-clockwise, in the frame of each first one: (N, M, 4).
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
    along, across = two[:, 2, None] * signs[:, 0], two[:, 3, None] * signs[:, 1]
    turn = two[None, :, 4] - one[:, None, 4]
    shift = two[None, :, :2] - one[:, None, :2]
    cos, sin = np.cos(one[:, 4])[:, None], np.sin(one[:, 4])[:, None]
    centre_x = (cos * shift[..., 0] + sin * shift[..., 1])[..., None]
    centre_y = (cos * shift[..., 1] - sin * shift[..., 0])[..., None]
    cos, sin = np.cos(turn)[..., None], np.sin(turn)[..., None]
    x = centre_x + cos * along - sin * across
    y = centre_y + sin * along + cos * across
    return _clamped_area(x, y, one[:, None, 2] / 2, one[:, None, 3] / 2)


def _clamped_area(x: Array, y: Array, half_x: Array, half_y: Array) -> Array:
    ahead_x, ahead_y = np.roll(x, -1, axis=-1) - x, np.roll(y, -1, axis=-1) - y
    # Fractions of each edge, from 0 to 1, at which it enters and leaves both strips: (N, M, 4, 6) with both ends.
    stops = [np.zeros_like(x), np.ones_like(x)]
    for start, ahead, half in ((x, ahead_x, half_x), (y, ahead_y, half_y)):
        slope = np.where(np.abs(ahead) > 0, ahead, np.inf)
        stops += [np.clip((bound[..., None] - start) / slope, 0.0, 1.0) for bound in (-half, half)]
    along = np.sort(np.stack(stops, axis=-1), axis=-1)
    bounds = half_x[..., None, None], half_y[..., None, None]
    inside_x = np.clip(x[..., None] + along * ahead_x[..., None], -bounds[0], bounds[0])
    inside_y = np.clip(y[..., None] + along * ahead_y[..., None], -bounds[1], bounds[1])
    area = ((inside_x[..., 1:] + inside_x[..., :-1]) / 2 * np.diff(inside_y, axis=-1)).sum(axis=(-1, -2))
    return np.maximum(area, 0.0)


def box_overlaps(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    """Return the intersection over union of each pair of boxes, from above and in space.

    Args:
        first: Centre x, y, height z of the bottom, length, width, height, and the angle by which the length is rotated
            counter-clockwise from the x axis, seen from above; shape (N, 7), z upwards.
        second: Boxes likewise, shape (M, 7).

    Returns:
        Overlaps of the ground areas and of the volumes, each of shape (N, M); 0 where both boxes are empty.

    Raises:
        ConfigError: If a shape does not fit.

    >>> bev, volume = box_overlaps([[0, 0, 0, 4, 2, 2, 0]], [[0, 0, 1, 4, 2, 2, np.pi]])
    >>> round(float(bev[0, 0]), 6), round(float(volume[0, 0]), 6)
    (1.0, 0.333333)
    """
    one, two = _rows(first, 7), _rows(second, 7)
    ground = [0, 1, 3, 4, 6]
    shared = rectangle_intersections(one[:, ground], two[:, ground])
    top = np.minimum((one[:, 2] + one[:, 5])[:, None], (two[:, 2] + two[:, 5])[None])
    bottom = np.maximum(one[:, 2][:, None], two[:, 2][None])
    shared_volume = shared * np.maximum(top - bottom, 0.0)
    area = [boxes[:, 3] * boxes[:, 4] for boxes in (one, two)]
    volume = [area[index] * boxes[:, 5] for index, boxes in enumerate((one, two))]
    return _over_union(shared, *area), _over_union(shared_volume, *volume)


def _over_union(shared: Array, first: Array, second: Array) -> Array:
    union = first[:, None] + second[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _rows(boxes: ArrayLike, width: int) -> Array:
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, width))
    if array.ndim != 2 or array.shape[1] != width:
        raise ConfigError(f'boxes of shape {array.shape} were given; valid: (N, {width})')
    return array
