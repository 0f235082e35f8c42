"""Leeds Sports Pose Extended: photographs of athletes with 14 joints, converted from MATLAB's format to COCO's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archives import move_file
from .coco import Entry, write_coco
from .source import Source, SourceError

JOINTS = (
    'right_ankle',
    'right_knee',
    'right_hip',
    'left_hip',
    'left_knee',
    'left_ankle',
    'right_wrist',
    'right_elbow',
    'right_shoulder',
    'left_shoulder',
    'left_elbow',
    'left_wrist',
    'neck',
    'head_top',
)
SKELETON = ((1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (7, 8), (8, 9), (10, 11), (11, 12), (9, 13), (10, 13), (13, 14))
MARGIN = 0.15
SIZES = {'train': 2000, 'val': 500}
# fmt: off
# Photographs with all joints visible that are left out of the draw, most of them very small, very large, or with a
# joint outside. The draw of the split depends on how many stand before a photograph, so that they are part of its rule.
LEFT_OUT = (
    24, 457, 791, 847, 924, 1155, 1683, 1745, 1867, 1974, 2002, 2088, 2119, 2164, 2213, 2242, 2256, 2566, 2713,
    2850, 2914, 2972, 2990, 3013, 3192, 3214, 3305, 3363, 3524, 3637, 3657, 3732, 3928, 3990, 4087, 4288, 4444,
    4453, 4496, 4675, 4678, 4722, 4736, 4810, 4837, 4899, 4945, 5106, 5116, 5126, 5155, 5243, 5323, 5349, 5385,
    5395, 5409, 5413, 5421, 6025, 6075, 6099, 6367, 6599, 6754, 6982, 7011, 7327, 7393, 7492, 7694, 7893, 7989,
    8099, 8313, 8555, 8573, 8644, 8653, 8742, 8975, 8987, 9125, 9139, 9188, 9224, 9374, 9410, 9469, 9471, 9712,
    9762, 9794,
)
# fmt: on


def lay_out(unpacked: Path, folder: Path, left_out: Sequence[int] = LEFT_OUT, sizes: dict[str, int] = SIZES) -> None:
    """Move the photographs of the split and write ``coco/train.json`` and ``coco/val.json``.

    Args:
        unpacked: Folder of the archive with ``joints.mat``.
        folder: Gets ``images/``, ``coco/`` and ``README.txt``.
        left_out: Numbers of photographs that are not drawn.
        sizes: Name and size of each part.

    Raises:
        SourceError: If ``joints.mat`` is another file, or a photograph is missing.
    """
    from PIL import Image

    joints = read_joints(unpacked / 'joints.mat')
    category = {'id': 1, 'name': 'person', 'keypoints': list(JOINTS), 'skeleton': [list(bone) for bone in SKELETON]}
    for part, numbers in draw_split(joints, left_out, sizes).items():
        entries = []
        for number in numbers:
            name = f'im{number:05d}.jpg'
            move_file(unpacked / 'images' / name, folder / 'images' / name)
            with Image.open(folder / 'images' / name) as image:
                width, height = image.size
            entries.append(
                (
                    {'file_name': name, 'width': width, 'height': height},
                    [annotate(joints[:, :2, number - 1], width, height)],
                )
            )
        write_coco(folder / 'coco' / f'{part}.json', entries, [category])
    move_file(unpacked / 'README.txt', folder / 'README.txt')


def read_joints(path: Path) -> NDArray[np.float64]:
    """Read the joints of all photographs.

    Args:
        path: The file ``joints.mat``.

    Returns:
        Shape (14, 3, N): x and y in pixels, and 1 for visible joints.

    Raises:
        SourceError: If the file holds something else.
    """
    from scipy.io import loadmat

    try:
        joints: Any = loadmat(path).get('joints')
    except (OSError, TypeError, ValueError, NotImplementedError) as error:
        raise SourceError(f"'{path.name}' of the archive cannot be read as a MATLAB file ({error})") from error
    shape = getattr(joints, 'shape', None)
    if shape is None or len(shape) != 3 or shape[:2] != (len(JOINTS), 3):
        raise SourceError(f"'joints' in '{path.name}' has shape {shape}; expected ({len(JOINTS)}, 3, N)")
    return np.asarray(joints, dtype=np.float64)


def draw_split(
    joints: NDArray[np.float64], left_out: Sequence[int] = LEFT_OUT, sizes: dict[str, int] = SIZES
) -> dict[str, list[int]]:
    """Draw the parts from the photographs with all joints visible.

    The photographs are shuffled by ``random.Random(0)`` and dealt out in the order of ``sizes``.

    Args:
        joints: Shape (14, 3, N).
        left_out: Numbers of photographs that are not drawn.
        sizes: Name and size of each part.

    Returns:
        Name of each part to the sorted numbers of its photographs, from 1.

    Raises:
        SourceError: If there are too few.
    """
    visible = np.flatnonzero((joints[:, 2] == 1).all(axis=0)) + 1
    numbers = [number for number in visible.tolist() if number not in left_out]
    if len(numbers) < sum(sizes.values()):
        raise SourceError(f"'joints.mat' has {len(numbers)} photographs to draw from; expected {sum(sizes.values())}")
    random.Random(0).shuffle(numbers)
    parts = {}
    for part, size in sizes.items():
        parts[part], numbers = sorted(numbers[:size]), numbers[size:]
    return parts


def annotate(points: NDArray[np.float64], width: int, height: int) -> Entry:
    """Return the annotation of a person.

    The box is that of the joints, wider on each side by 15 % of its longer side and cut at the border.

    Args:
        points: Shape (14, 2), pixels.
        width: Of the photograph.
        height: Of the photograph.

    >>> person = annotate(np.array([[10.0, 20.0], [30.0, 60.0]]), 100, 62)
    >>> person['bbox'], person['area'], person['num_keypoints']
    ([4.0, 14.0, 32.0, 48.0], 1536.0, 2)
    """
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * max(right - left, bottom - top)
    left, top = max(0.0, left - margin), max(0.0, top - margin)
    right, bottom = min(width, right + margin), min(height, bottom + margin)
    keypoints: list[float] = []
    for x, y in points:
        keypoints += [round(float(x), 2), round(float(y), 2), 2]  # 2: labelled and visible
    return {
        'category_id': 1,
        'keypoints': keypoints,
        'num_keypoints': len(points),
        'bbox': [round(float(value), 2) for value in (left, top, right - left, bottom - top)],
        'area': float((right - left) * (bottom - top)),
    }


# The authors publish no hash. `contents` comes from the copy that the shipped results were measured on; its annotations
# are those of joints.mat, and its photographs are not known to be the archive's byte by byte.
LSPET = Source(
    name='lspet',
    about='2500 photographs of athletes with 14 joints each; for research, cite the authors; 170 MB',
    url='https://sam.johnson.io/research/lspet_dataset.zip',
    anchor='joints.mat',
    members=('images/', 'joints.mat', 'README.txt'),
    lay_out=lay_out,
    contents='df848c2138afae72999e564af6173049e78c53951e6bab65e88c4e62e47466a1',
    packages=('scipy', 'PIL'),
    strict=False,
)

__all__ = ['LSPET']
