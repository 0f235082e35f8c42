"""Axial slices of the hippocampus volumes as images with masks and exact COCO boxes.

A data set for detectors and segmentors whose boxes follow from voxel labels, so that precision at high IoU thresholds
measures the detector and not the annotators. The volumes are those of the Medical Segmentation Decathlon, task 4
(Simpson et al., arXiv 1902.09063), which ``kd_plugins data hippocampus`` fetches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..utils.files import write_atomically
from .coco_writing import coco_object, tight_box, write_coco
from .nifti import SUFFIXES, read_labels, read_volume, split_names
from .sources.checksums import digest_of, hash_file
from .split_folder import SplitFolder

CLASSES = ('anterior', 'posterior')
VOLUME_CLASSES = ('background', *CLASSES)
SIZES = {'train': 140, 'val': 20, 'test': 40}
"""Numbers of volumes, dealt out with seed 0 as in the configs that segment the volumes."""
AXIS = 2
"""Axis across the slices: from below to above."""
MIN_SIDE = 4
"""Boxes with a shorter side, in voxels, are marked as crowds, which neither count as objects nor as errors."""
PERCENTILES = (0.5, 99.5)
"""Percentiles of a volume's intensity that become black and white."""
RECIPE = 1
"""Version of the recipe; it is raised when the same volumes give other slices, and old folders are replaced."""


@dataclass(frozen=True)
class Slice:
    """One slice with its mask and boxes.

    Attributes:
        image: Grey values, shape (H, W); rows run along the second axis of the volume, columns along the first.
        mask: 0 for the background, otherwise 1 + index of the class, shape (H, W).
        boxes: Corners x1, y1, x2, y2 in voxels, x2 and y2 exclusive, shape (G, 4).
        labels: Indices into ``CLASSES``, shape (G,).
        areas: Numbers of labelled voxels, shape (G,).
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    boxes: NDArray[np.int64]
    labels: NDArray[np.int64]
    areas: NDArray[np.int64]


def grey_values(volume: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Scale the intensities of one volume to 0 to 255.

    >>> grey_values(np.array([0.0, 5.0, 10.0])).tolist()
    [0, 128, 255]
    """
    low, high = np.percentile(volume, PERCENTILES)
    scaled = (volume - low) / max(float(high - low), np.finfo(np.float32).tiny)
    return np.round(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)


def slices_of(volume: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> dict[int, Slice]:
    """Return the slices that hold an object, by index.

    Args:
        volume: Intensities, shape (X, Y, Z).
        labels: 0 for the background, otherwise 1 + index of the class, same shape.
    """
    grey = grey_values(volume)
    result = {}
    for index in range(labels.shape[AXIS]):
        plane = np.take(labels, index, AXIS).T
        present = [number for number in range(len(CLASSES)) if (plane == number + 1).any()]
        if not present:
            continue
        masks = [plane == number + 1 for number in present]
        result[index] = Slice(
            np.ascontiguousarray(np.take(grey, index, AXIS).T),
            np.ascontiguousarray(plane.astype(np.uint8)),
            np.array([tight_box(mask) for mask in masks], dtype=np.int64),
            np.array(present, dtype=np.int64),
            np.array([mask.sum() for mask in masks], dtype=np.int64),
        )
    return result


def _contents(volumes: Path, names: Sequence[str]) -> str:
    """Return one hash of the files of volumes and labels, so that other volumes of the same names are cut again."""
    files = [volumes / kind / name for name in names for kind in ('images', 'labels')]
    return digest_of('\n'.join(hash_file(file) for file in files if file.is_file()))


def _planes(volumes: Path, names: Iterable[str]) -> Iterable[list[tuple[str, Slice]]]:
    """Yield the slices of each volume with the names of their files."""
    for name in names:
        path = str(volumes / 'images' / name)
        labels = read_labels(str(volumes / 'labels' / name), path, VOLUME_CLASSES)
        planes = slices_of(read_volume(path)[0].numpy(), labels[0].numpy().astype(np.int64))
        yield [(f'{name.split(".")[0]}_{index:02d}.png', plane) for index, plane in planes.items()]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    return cv2.imencode('.png', pixels)[1].tobytes()


def make_split(volumes: Path, root: Path, split: str, progress: Callable[[int], None] | None = None) -> int | None:
    """Write the slices of a split, unless they exist.

    They are ``<root>/<split>/*.png``, boxes in COCO's format ``<root>/annotations/<split>.json``, and masks of the same
    names ``<root>/masks/<split>/*.png``, listed in ``<root>/masks/<split>.json``.

    Args:
        volumes: Folder with ``images/`` and ``labels/``.
        root: Folder of the data set.
        split: ``'train'``, ``'val'`` or ``'test'``.
        progress: Called with the number of volumes written so far.

    Returns:
        The number of slices, or ``None`` if they were there.

    Raises:
        ConfigError: If the volumes are missing or damaged, or the folder holds files of another origin.
    """
    folder = volumes / 'images'
    names = [file.name for file in folder.iterdir() if file.name.endswith(SUFFIXES)] if folder.is_dir() else []
    if not names:
        raise ConfigError(
            f"hippocampus-slices: '{folder}' holds no volumes; 'kd_plugins data hippocampus' fetches them"
        )
    chosen = sorted(split_names(names, SIZES)[split])
    info = dict(description='axial slices of hippocampus volumes', recipe=RECIPE, split=split, volumes=chosen)
    info['contents'] = _contents(volumes, chosen)
    ann_file, mask_file = root / 'annotations' / f'{split}.json', root / 'masks' / f'{split}.json'
    images = SplitFolder(root / split, '.png', info, ann_file)
    masks = SplitFolder(root / 'masks' / split, '.png', info, mask_file)
    without_images, without_masks = images.begin(), masks.begin()
    if not without_images and not without_masks:
        return None
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for count, planes in enumerate(_planes(volumes, chosen)):
        for name, plane in planes:
            if without_images:
                images.write(name, _png(plane.image))
            if without_masks:
                masks.write(name, _png(plane.mask))
            height, width = plane.image.shape
            entries.append(dict(id=len(entries), file_name=name, width=width, height=height))
            for box, label, area in zip(plane.boxes.tolist(), plane.labels.tolist(), plane.areas.tolist()):
                crowd = min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE
                annotations.append(coco_object(len(annotations) + 1, entries[-1]['id'], label, box, area, crowd))
        if progress is not None:
            progress(count + 1)
    if without_masks:
        masks.remove_earlier()
        listed = dict(info=info, classes=VOLUME_CLASSES, masks=[entry['file_name'] for entry in entries])
        write_atomically(mask_file, json.dumps(listed).encode())
    if without_images:
        images.remove_earlier()
        write_coco(ann_file, info, entries, annotations, CLASSES)
    return len(entries)
