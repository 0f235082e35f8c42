"""Generated LiDAR scenes by ray casting, for runs without a data set.

A spinning sensor with 32 beams stands 1.73 m above a flat ground, at the origin; x points forward, y left, z up. Within
18 m on each side stand cars, pedestrians and cyclists, each made of two or three boxes, among walls, poles, bins,
crates and fences of similar sizes. Each ray returns the nearest surface on its way, so that objects occlude each other.
The range is noisy, and rays at a flat angle to a surface often have no return. A scene is a pure function of split,
seed and index.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..ops.rotated_iou import rectangle_intersections
from ..utils.checks import check_choice
from ..utils.files import write_atomically
from .split_folder import SplitFolder

CLASSES = ('Pedestrian', 'Cyclist', 'Car')
SPLITS = ('train', 'val')
HEIGHT = 1.73
"""Height of the sensor above the ground, in metres."""
ELEVATIONS = np.deg2rad(np.linspace(3.0, -18.0, 32))
AZIMUTHS = np.deg2rad(np.arange(512) * 360.0 / 512)
RANGE = 40.0
"""Largest range of a return, in metres."""
RANGE_NOISE = 0.02
"""Standard deviation of a measured range, in metres."""
DROPOUT = 0.08
"""Part of the rays without a return from a surface that faces the sensor."""
HALF_SIDE = 18.0
"""Centres of objects lie within this distance of the sensor in x and in y."""
MIN_POINTS = 5
"""Smallest number of returns of an annotated object."""
RECIPE = 1
"""Version of the generator; it is raised when the same arguments give other scenes, and old folders are replaced."""

SIZES = {'Pedestrian': (0.8, 0.6, 1.73), 'Cyclist': (1.76, 0.6, 1.73), 'Car': (3.9, 1.6, 1.56)}
"""Mean length, width and height of each class."""
# Boxes of an object, relative to its length, width and height: centre x, length, width, bottom, top.
PARTS = {
    'Pedestrian': ((0.0, 0.4, 0.6, 0.0, 0.5), (0.0, 0.7, 1.0, 0.45, 0.85), (0.05, 0.35, 0.45, 0.85, 1.0)),
    'Cyclist': ((0.0, 1.0, 0.15, 0.0, 0.55), (-0.05, 0.3, 0.9, 0.5, 0.88), (0.05, 0.15, 0.4, 0.88, 1.0)),
    'Car': ((0.0, 1.0, 1.0, 0.12, 0.6), (-0.06, 0.55, 0.86, 0.6, 1.0)),
}
COUNTS = {'Pedestrian': (2, 5), 'Cyclist': (2, 4), 'Car': (2, 5)}
# Clutter: smallest and largest length, width and height, and smallest and largest number.
CLUTTER = {
    'wall': ((5.0, 12.0), (0.2, 0.4), (2.0, 3.0), (1, 3)),
    'pole': ((0.15, 0.3), (0.15, 0.3), (2.5, 4.0), (2, 5)),
    'bin': ((0.5, 0.9), (0.4, 0.8), (1.0, 1.9), (2, 5)),
    'crate': ((2.0, 4.5), (1.0, 2.0), (1.0, 2.2), (1, 4)),
    'fence': ((1.2, 2.4), (0.1, 0.4), (0.9, 1.8), (1, 4)),
}
# MMDetection3D's KITTI data set stores boxes in camera axes: right, down, forward. This camera is at the sensor.
LIDAR2CAM = ((0.0, -1.0, 0.0, 0.0), (0.0, 0.0, -1.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """Measured points and annotations of one scene.

    Attributes:
        points: x, y, z in metres and intensity in [0, 1], shape (P, 4).
        boxes: x, y, z of the bottom's centre, length, width, height and the angle of the length, counter-clockwise from
            x, shape (G, 7).
        labels: Index into :data:`CLASSES`, shape (G,).
        num_points: Number of returns of each object, shape (G,).
    """

    points: NDArray[np.float32]
    boxes: Array
    labels: NDArray[np.int64]
    num_points: NDArray[np.int64]


def cast_rays(directions: Array, boxes: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return the nearest surface on each ray from the origin: the ground or a box.

    Args:
        directions: Unit vectors, shape (R, 3).
        boxes: Boxes with the columns of :attr:`Scene.boxes`, shape (B, 7).

    Returns:
        Range, infinite without a surface; cosine of the angle between ray and surface normal; index of the box, -1 for
        the ground. All of shape (R,).

    >>> reach, cosine, hit = cast_rays(np.array([[1.0, 0, 0], [0, 0, -1.0]]), np.array([[5, 0, -1, 2, 2, 2, 0]]))
    >>> reach.round(2).tolist(), cosine.tolist(), hit.tolist()
    ([4.0, 1.73], [1.0, 1.0], [0, -1])
    """
    # Coordinates are the first axis, since NumPy's reductions over a short last axis are many times slower.
    rays = np.ascontiguousarray(directions.T)
    down = -rays[2]
    reach = np.where(down > 0, HEIGHT / np.where(down > 0, down, 1.0), np.inf)
    cosine, hit = np.maximum(down, 0.0), np.full(len(directions), -1)
    for index, (x, y, z, *size, yaw) in enumerate(boxes):
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
        half = np.array(size)[:, None] / 2
        origin = -turn @ np.array([[x], [y], [z + size[2] / 2]])
        ahead = turn @ rays
        ahead = np.where(np.abs(ahead) < 1e-12, 1e-12, ahead)
        # A ray is inside the box while it is between all three pairs of parallel planes.
        planes = (-half - origin) / ahead, (half - origin) / ahead
        near, far = np.minimum(*planes), np.maximum(*planes)
        entry = near.max(axis=0)
        hits = np.flatnonzero((entry > 0) & (entry <= far.min(axis=0)) & (entry < reach))
        axis = near[:, hits].argmax(axis=0)
        reach[hits], cosine[hits], hit[hits] = entry[hits], np.abs(ahead[axis, hits]), index
    return reach, cosine, hit


def place(rng: np.random.Generator, sizes: list[tuple[float, float, float]]) -> list[Array | None]:
    """Return a random box on the ground for each size, or None where no free position was found.

    Boxes do not overlap and keep a distance of 3 m from the sensor.

    Args:
        rng: Source of random numbers.
        sizes: Length, width and height of each box.
    """
    placed: list[Array | None] = []
    taken = np.array([[0.0, 0.0, 6.0, 6.0, 0.0]])
    for length, width, height in sizes:
        tries = np.concatenate([rng.uniform(-HALF_SIDE, HALF_SIDE, (12, 2)), rng.uniform(-np.pi, np.pi, (12, 1))], 1)
        ground = np.stack(
            [tries[:, 0], tries[:, 1], np.full(12, length + 0.4), np.full(12, width + 0.4), tries[:, 2]], axis=1
        )
        free = np.flatnonzero(rectangle_intersections(ground, taken).sum(axis=1) < 1e-6)
        if not len(free):
            placed.append(None)
            continue
        x, y, yaw = tries[free[0]]
        taken = np.concatenate([taken, ground[free[:1]]])
        placed.append(np.array([x, y, -HEIGHT, length, width, height, yaw]))
    return placed


def _parts_of(box: Array, name: str) -> Array:
    x, y, z, length, width, height, yaw = box
    parts = np.array(PARTS.get(name, ((0.0, 1.0, 1.0, 0.0, 1.0),)))
    offset = parts[:, 0] * length
    columns = [x + np.cos(yaw) * offset, y + np.sin(yaw) * offset, z + parts[:, 3] * height]
    columns += [parts[:, 1] * length, parts[:, 2] * width, (parts[:, 4] - parts[:, 3]) * height]
    return np.stack([*columns, np.full(len(parts), yaw)], axis=1)


def _population(rng: np.random.Generator) -> tuple[list[str], list[tuple[float, float, float]]]:
    names, sizes = [], []
    # Large boxes are placed first, since they need most room.
    for name in ('wall', 'Car', 'crate', 'Cyclist', 'fence', 'Pedestrian', 'bin', 'pole'):
        low, high = COUNTS[name] if name in COUNTS else CLUTTER[name][3]
        for _ in range(int(rng.integers(low, high + 1))):
            if name in SIZES:
                length, width, height = np.array(SIZES[name]) * np.clip(rng.normal(1.0, 0.08, 3), 0.8, 1.2)
            else:
                length, width, height = (rng.uniform(*bounds) for bounds in CLUTTER[name][:3])
            names.append(name)
            sizes.append((float(length), float(width), float(height)))
    return names, sizes


def directions() -> Array:
    """Return the unit vectors of all rays, shape (R, 3)."""
    elevation, azimuth = np.meshgrid(ELEVATIONS, AZIMUTHS, indexing='ij')
    rays = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    return np.stack(rays, axis=-1).reshape(-1, 3)


def compose(split: str, index: int, seed: int = 0) -> Scene:
    """Compose one scene and measure it.

    Args:
        split: ``'train'`` or ``'val'``; the two use different random numbers.
        index: Index of the scene.
        seed: Seed of the whole data set.

    Raises:
        ConfigError: If there is no such split.
    """
    check_choice('lidar_scenes: split', split, SPLITS)
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    names, sizes = _population(rng)
    things = [(name, box) for name, box in zip(names, place(rng, sizes)) if box is not None]
    parts = [_parts_of(box, name) for name, box in things]
    owner = np.repeat(np.arange(len(things)), [len(boxes) for boxes in parts])
    rays = directions()
    # The angle of a ray varies slightly between rotations of the sensor.
    rays = rays + rng.normal(0.0, 4e-4, rays.shape)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    reach, cosine, hit = cast_rays(rays, np.concatenate(parts))
    noisy = reach + rng.normal(0.0, RANGE_NOISE, len(reach))
    returned = rng.random(len(reach)) < (1 - DROPOUT) * np.minimum(1.0, 4 * cosine)
    kept = returned & (reach < RANGE)
    thing_of = np.where(hit >= 0, owner[hit], -1)[kept]
    # Reflectivity of each thing, then of the ground, which index -1 reads.
    reflectivity = np.append(rng.uniform(0.1, 0.9, len(things)), 0.25)
    intensity = reflectivity[thing_of] * (0.3 + 0.7 * cosine[kept]) + rng.normal(0.0, 0.03, int(kept.sum()))
    # Rounded to millimetres, so that the last bit of a sine does not change the file.
    positions = np.round(rays[kept] * noisy[kept, None], 3)
    points = np.concatenate([positions, np.round(np.clip(intensity, 0, 1), 3)[:, None]], axis=1).astype(np.float32)
    returns = np.array([int((thing_of == number).sum()) for number in range(len(things))], dtype=np.int64)
    seen = [number for number, (name, _) in enumerate(things) if name in SIZES and returns[number] >= MIN_POINTS]
    return Scene(
        points=points,
        boxes=np.array([things[number][1] for number in seen]).reshape(-1, 7),
        labels=np.array([CLASSES.index(things[number][0]) for number in seen], dtype=np.int64),
        num_points=returns[seen],
    )


def scene_info(scene: Scene, name: str, index: int) -> dict[str, Any]:
    """Return a scene's entry in the annotation file, in the format of MMDetection3D's infos of KITTI, version 1.1."""
    x, y, z, length, width, height, yaw = scene.boxes.T
    labels = np.stack([-y, -z, x, length, height, width, -yaw - np.pi / 2], axis=1).round(4)
    instances = [
        dict(bbox_3d=box, bbox_label=label, bbox_label_3d=label, num_lidar_pts=count)
        for box, label, count in zip(labels.tolist(), scene.labels.tolist(), scene.num_points.tolist())
    ]
    return dict(
        sample_idx=index,
        lidar_points=dict(lidar_path=name, num_pts_feats=4),
        images=dict(CAM2=dict(lidar2cam=LIDAR2CAM)),
        instances=instances,
    )


def make_split(
    root: Path, split: str, num_scenes: int, seed: int = 0, progress: Callable[[int], None] | None = None
) -> bool:
    """Write ``<root>/<split>/*.bin`` and ``<root>/<split>.json``, unless they exist.

    A ``.bin`` file holds x, y, z and intensity of each point in float32, as in KITTI. MMDetection3D's ``KittiDataset``
    reads the annotation file.

    Args:
        root: Folder of the data set.
        split: ``'train'`` or ``'val'``.
        num_scenes: Number of scenes.
        seed: Seed of the whole data set.
        progress: Called with the number of scenes written so far.

    Returns:
        Whether the split was written.

    Raises:
        ConfigError: If an argument does not fit, or the folder holds files of another origin.
    """
    if num_scenes < 1 or seed < 0:
        raise ConfigError(
            f'lidar_scenes: {split} with {num_scenes} scenes and seed {seed} cannot be generated; '
            'valid: at least 1 scene and seed 0'
        )
    info = dict(description='ray-cast LiDAR scenes', recipe=RECIPE, split=split, num_scenes=num_scenes, seed=seed)
    ann_file = root / f'{split}.json'
    files = SplitFolder(root / split, '.bin', info, ann_file)
    if not files.begin():
        return False
    entries = []
    for index in range(num_scenes):
        scene = compose(split, index, seed)
        name = f'{index:06d}.bin'
        files.write(name, scene.points.tobytes())
        entries.append(scene_info(scene, name, index))
        if progress is not None:
            progress(index + 1)
    files.remove_earlier()
    metainfo = dict(
        categories={name: number for number, name in enumerate(CLASSES)}, dataset='kitti', info_version='1.1'
    )
    write_atomically(ann_file, json.dumps(dict(info=info, metainfo=metainfo, data_list=entries)).encode())
    return True
