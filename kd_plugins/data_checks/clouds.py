"""Checks of the point files that MMDetection3D's ``LoadPointsFromFile`` reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import ConfigError
from .images import SECONDS, check_exist, within
from .sources import Source

FIRST = 8
"""Clouds that are read in any case, however slow they are."""
FLOAT = 4
"""Bytes of a number in a point file."""


def point_range(source: Source) -> list[float] | None:
    """Return the range that the pipeline keeps, None where it keeps all points."""
    step = source.step('PointsRangeFilter')
    values = step.get('point_cloud_range') if step else None
    return [float(value) for value in values] if values else None


def check_clouds(source: Source, paths: Sequence[str]) -> Iterator[str]:
    """Check point files; yield remarks.

    Args:
        source: The data set.
        paths: Its point files.

    Raises:
        ConfigError: Naming the first file that is missing, damaged or without a point in the range.
    """
    check_exist(paths, source.key)
    step = source.step('LoadPointsFromFile')
    if step is None:
        return
    columns = int(step.get('load_dim', 6))
    used = step.get('use_dim', [0, 1, 2])
    used = list(range(used)) if isinstance(used, int) else list(used)
    binary = [path for path in paths if not path.endswith('.npy')]
    for path in within(binary, SECONDS):  # on a network file system, to ask for each file takes a millisecond
        size = os.path.getsize(path)
        if not size:
            raise ConfigError(f"'{path}' is empty; copy it again, or leave its frame out")
        if size % (FLOAT * columns):
            fits = [other for other in (3, 4, 5, 6) if size % (FLOAT * other) == 0]
            advice = f'nearest: load_dim={fits[-1]}' if fits else 'copy it again'
            raise ConfigError(
                f"'{path}' has {size} bytes, which is no whole number of points of {columns} float32 "
                f'(LoadPointsFromFile.load_dim); is it cut off? {advice}'
            )
    number, spoiled = 0, []
    limits = point_range(source)
    for path in within(binary, SECONDS, FIRST):
        points = np.fromfile(path, dtype=np.float32).reshape(-1, columns)
        kept = _kept(path, points, limits, source.key)
        bad = ~np.isfinite(points[:, used])
        # Only the range filter removes points whose coordinates are no numbers; other columns reach the network.
        if bad[kept].any():
            row = int(np.flatnonzero(bad.any(axis=1) & kept)[0])
            raise ConfigError(
                f"'{path}': point {row} is {points[row].tolist()}; remove points that hold NaN or infinity"
            )
        if bad.any():
            spoiled.append(path)
        number += 1
    if spoiled:
        yield f"{len(spoiled)} clouds hold points with NaN, which the range filter removes (first: '{spoiled[0]}')"
    if number < len(binary):
        yield f'{source.key}: {number} of {len(binary)} clouds were read, evenly over the data set'


def _kept(path: str, points: np.ndarray, limits: Sequence[float] | None, key: str) -> np.ndarray:
    """Return which points the range filter keeps."""
    if limits is None:
        return np.ones(len(points), dtype=bool)
    low, high = np.asarray(limits[:3]), np.asarray(limits[3:])
    with np.errstate(invalid='ignore'):
        kept = np.all((points[:, :3] > low) & (points[:, :3] < high), axis=1)
        if not kept.any():
            finite = points[np.isfinite(points[:, :3]).all(axis=1), :3]
            span = f'{finite.min(0).round(2).tolist()} to {finite.max(0).round(2).tolist()}' if len(finite) else 'NaN'
            raise ConfigError(
                f"'{path}': none of {len(points)} points is in the point_cloud_range {list(limits)} of {key}; its "
                f'points reach from {span}; compare units, axes and LoadPointsFromFile.load_dim'
            )
    return np.asarray(kept)
