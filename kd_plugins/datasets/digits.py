"""Generated detection images of real handwritten digits, for runs without a network connection or a data set.

The 1797 scans of 8x8 pixels that scikit-learn contains (UCI, "Optical Recognition of Handwritten Digits", 1998) are
enlarged, rotated, coloured and placed on textured paper, several per image and overlapping, among strokes that are not
digits. A scan is used for training or for validation, never for both. An image is a pure function of split, seed and
index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, MissingDependencyError, import_fault, nearest
from .coco_writing import coco_object, tight_box, write_coco
from .split_folder import SplitFolder

CLASSES = tuple('0123456789')
SPLITS = ('train', 'val')
VAL_EVERY = 4
"""Every fourth scan of each class is kept for validation."""
MIN_VISIBLE = 0.7
"""Smallest part of a digit's ink that must stay visible below later digits."""
DIGIT_HEIGHT = (0.16, 0.42)
"""Range of the height of a digit, relative to the side of the image."""
MIN_SIZE = 64
ONE_CLASS = ('digit',)
"""Classes of the second annotation file, in which all digits are of one class."""
RECIPE = 2
"""Version of the generator; it is raised when the same arguments give other files, and old folders are replaced."""

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Field = NDArray[np.float32]


@dataclass(frozen=True)
class Scans:
    """Scans of handwritten digits.

    Attributes:
        ink: Amount of ink in [0, 1], shape (K, 8, 8).
        labels: Digit of each scan, shape (K,).
        ids: Index of each scan in scikit-learn's data set, shape (K,).
    """

    ink: Field
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """One composed image.

    Attributes:
        image: Shape (S, S, 3), blue, green, red.
        boxes: Tight corners x1, y1, x2, y2 in whole pixels (x2 and y2 exclusive), shape (G, 4). A box contains all ink
            of its digit, including ink that a later digit covers.
        labels: Digit of each box, shape (G,).
        masks: Ink of each digit, shape (G, S, S).
    """

    image: Image
    boxes: NDArray[np.int64]
    labels: NDArray[np.int64]
    masks: Mask


def load_scans(split: str) -> Scans:
    """Return the scans of one split.

    Args:
        split: ``'train'`` or ``'val'``.

    Raises:
        ConfigError: If there is no such split.
        MissingDependencyError: If scikit-learn is not installed.

    >>> [len(load_scans(split).labels) for split in SPLITS]
    [1352, 445]
    """
    if split not in SPLITS:
        raise ConfigError(f"digits: the split '{split}' does not exist; {nearest(split, SPLITS)}")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        fault = import_fault(error, 'scikit-learn')
        raise MissingDependencyError(
            f'digits: the scans are part of scikit-learn, and {fault}; `make install` installs it'
        ) from error
    bunch: Any = load_digits()
    labels = bunch.target.astype(np.int64)
    rank = np.zeros(len(labels), dtype=np.int64)
    for digit in range(len(CLASSES)):
        rank[labels == digit] = np.arange((labels == digit).sum())
    kept = rank % VAL_EVERY == VAL_EVERY - 1
    ids = np.flatnonzero(kept if split == 'val' else ~kept)
    return Scans((bunch.images[ids] / 16.0).astype(np.float32), labels[ids], ids)


def enlarge(ink: Field, height: float, aspect: float, angle: float) -> Field:
    """Enlarge one scan smoothly and rotate it.

    Args:
        ink: Shape (8, 8), in [0, 1].
        height: Height of the enlarged scan in pixels.
        aspect: Width over height.
        angle: Counter-clockwise rotation in degrees.

    Returns:
        Ink in [0, 1] with soft edges, cropped to its bounding box, shape (h, w).
    """
    smooth = cv2.resize(np.pad(ink, 2), (96, 96), interpolation=cv2.INTER_CUBIC)  # 8 pixels per pixel of the scan
    side = int(np.ceil(1.5 * height * max(aspect, 1.0))) + 4
    matrix = cv2.getRotationMatrix2D((48.0, 48.0), angle, height / 64.0)
    matrix[0] *= aspect
    matrix[:, 2] = side / 2 - matrix[:, :2] @ np.array([48.0, 48.0])
    turned = cv2.warpAffine(smooth, matrix, (side, side), flags=cv2.INTER_LINEAR)
    # Steeper edges look like strokes of a pen and define the box; the edges of an enlarged 8x8 scan are blurred.
    sharp = np.clip((turned - 0.3) * 3.0, 0.0, 1.0).astype(np.float32)
    x1, y1, x2, y2 = tight_box(sharp > 0.5)
    return sharp[y1:y2, x1:x2]


def paper(rng: np.random.Generator, size: int) -> tuple[Field, bool]:
    """Return a textured background of shape (S, S, 3), and whether it is bright, so that the ink must be dark."""
    bright = bool(rng.random() < 0.8)
    level = rng.uniform(165, 235) if bright else rng.uniform(25, 90)
    coarse = rng.normal(0.0, 14.0, (4, 4, 3)).astype(np.float32)
    field: Field = np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)
    return (level + rng.normal(0.0, 10.0, 3).astype(np.float32) + field).astype(np.float32), bright


def ink_colour(rng: np.random.Generator, bright: bool) -> Field:
    """Return a random colour (3,) that contrasts with the paper."""
    level = rng.uniform(15, 110) if bright else rng.uniform(150, 245)
    return np.clip(level + rng.normal(0.0, 28.0, 3), 0, 255).astype(np.float32)


def scribble(rng: np.random.Generator, canvas: Field, colour: Field) -> None:
    """Draw a stroke that is not a digit in place: an open curve through three to five points."""
    size = canvas.shape[0]
    steps = rng.normal(0.0, 0.12 * size, (int(rng.integers(3, 6)), 2))
    points = np.cumsum(np.vstack([rng.uniform(0, size, (1, 2)), steps]), axis=0)
    # Chaikin's corner cutting makes it smooth.
    for _ in range(3):
        points = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], 1)
        points = points.reshape(-1, 2)
    curve = np.round(points).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [curve], False, colour.tolist(), int(rng.integers(1, 4)), cv2.LINE_AA)


def compose(scans: Scans, split: str, index: int, seed: int = 0, size: int = 160) -> Scene:
    """Compose one image.

    Args:
        scans: Scans of this split, from :func:`load_scans`.
        split: ``'train'`` or ``'val'``; the two use different random numbers.
        index: Index of the image.
        seed: Seed of the whole data set.
        size: Side S of the image in pixels, at least 64.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    canvas, bright = paper(rng, size)
    for _ in range(int(rng.integers(2, 7))):
        scribble(rng, canvas, ink_colour(rng, bright))
    masks: list[Mask] = []
    labels: list[int] = []
    visible: list[Mask] = []
    wanted = int(rng.integers(2, 8))
    for _ in range(4 * wanted):
        if len(masks) == wanted:
            break
        pick = int(rng.integers(len(scans.labels)))
        # Uniform in the logarithm, so that small digits are as frequent as large ones.
        height = size * float(np.exp(rng.uniform(*np.log(DIGIT_HEIGHT))))
        glyph = enlarge(scans.ink[pick], height, float(rng.uniform(0.75, 1.25)), float(rng.normal(0.0, 9.0)))
        high, wide = glyph.shape
        if not 4 <= min(high, wide) <= max(high, wide) <= size:
            continue
        y, x = int(rng.integers(size - high + 1)), int(rng.integers(size - wide + 1))
        alpha = np.zeros((size, size), np.float32)
        alpha[y : y + high, x : x + wide] = glyph
        mask: Mask = alpha > 0.5
        left = [old & ~mask for old in visible]
        if any(new.sum() < MIN_VISIBLE * whole.sum() for new, whole in zip(left, masks)):
            continue
        colour = ink_colour(rng, bright)
        canvas += alpha[..., None] * (colour - canvas)
        visible = [*left, mask]
        masks.append(mask)
        labels.append(int(scans.labels[pick]))
    noise = rng.normal(0.0, rng.uniform(2.0, 10.0), canvas.shape)
    image: Image = np.clip(canvas + noise, 0, 255).astype(np.uint8)
    boxes = np.array([tight_box(mask) for mask in masks], dtype=np.int64).reshape(-1, 4)
    return Scene(image, boxes, np.array(labels, dtype=np.int64), np.array(masks).reshape(-1, size, size))


def make_split(
    root: Path,
    split: str,
    num_images: int,
    seed: int = 0,
    size: int = 160,
    progress: Callable[[int], None] | None = None,
) -> bool:
    """Write ``<root>/<split>/*.jpg`` and their annotations in COCO's format, unless they exist.

    ``<root>/annotations/<split>.json`` has ten classes, ``<split>_one-class.json`` beside it the same boxes in one.

    Args:
        root: Folder of the data set.
        split: ``'train'`` or ``'val'``.
        num_images: Number of images.
        seed: Seed of the whole data set.
        size: Side of the images in pixels.
        progress: Called with the number of images written so far.

    Returns:
        Whether the split was written.

    Raises:
        ConfigError: If an argument does not fit, or the folder holds files of another origin.
    """
    if num_images < 1 or size < MIN_SIZE or seed < 0:
        raise ConfigError(
            f'digits: {split} with {num_images} images of {size} pixels and seed {seed} cannot be generated; '
            f'valid: at least 1 image, {MIN_SIZE} pixels and seed 0'
        )
    info = dict(description='handwritten digits composed into images', recipe=RECIPE)
    info |= dict(split=split, num_images=num_images, seed=seed, size=size)
    ann_file = root / 'annotations' / f'{split}.json'
    one_class_file = ann_file.with_name(f'{split}_one-class.json')
    files = SplitFolder(root / split, '.jpg', info, ann_file, (one_class_file,))
    if not files.begin():
        return False
    scans = load_scans(split)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(num_images):
        scene = compose(scans, split, index, seed, size)
        name = f'{index:06d}.jpg'
        encoded = cv2.imencode('.jpg', scene.image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        files.write(name, encoded.tobytes())
        images.append(dict(id=index, file_name=name, width=size, height=size))
        for box, label in zip(scene.boxes.tolist(), scene.labels.tolist()):
            annotations.append(coco_object(len(annotations) + 1, index, label, box))
        if progress is not None:
            progress(index + 1)
    files.remove_earlier()
    of_one_class = [{**annotation, 'category_id': 1} for annotation in annotations]
    write_coco(one_class_file, info, images, of_one_class, ONE_CLASS)
    write_coco(ann_file, info, images, annotations, CLASSES)  # last, because it says that the split is complete
    return True
