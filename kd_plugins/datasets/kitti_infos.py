"""Entries of MMDetection3D's info files, made in memory from KITTI's folders.

MMDetection3D reads info files that its converter writes. The same entries are made here from ``calib``, ``label_2`` and
the sizes of the images.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

CATEGORIES = ('Pedestrian', 'Cyclist', 'Car', 'Van', 'Truck', 'Person_sitting', 'Tram', 'Misc')
"""Names of labels in the order of MMDetection3D; any other name, such as ``DontCare``, has the label -1."""
USUAL_SIZE = (1242, 375)
"""Width and height of most of KITTI's images, taken where there is no image."""

Matrix = NDArray[np.float64]


def read_calibration(path: Path) -> tuple[Matrix, Matrix]:
    """Return the matrices from LiDAR to rectified camera and from camera to image of the left colour camera.

    Args:
        path: File of KITTI's ``calib``.

    Returns:
        Both of shape (4, 4).

    Raises:
        ConfigError: If the file lacks a matrix.
    """
    rows = (line.partition(':') for line in path.read_text(encoding='utf-8').splitlines() if line.strip())
    values = {name: np.array(numbers.split(), dtype=np.float64) for name, _, numbers in rows}
    matrices = []
    for name, shape in (('P2', (3, 4)), ('R0_rect', (3, 3)), ('Tr_velo_to_cam', (3, 4))):
        if name not in values or values[name].size != shape[0] * shape[1]:
            raise ConfigError(
                f"'{path}' has no {name} of {shape[0]}x{shape[1]} numbers; is it a file of KITTI's calib?"
            )
        matrix = np.eye(4)
        matrix[: shape[0], : shape[1]] = values[name].reshape(shape)
        matrices.append(matrix)
    projection, rectify, to_camera = matrices
    return rectify @ to_camera, projection


def read_labels(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of ``label_2`` as instances of MMDetection3D's infos, DontCare areas included.

    Raises:
        ConfigError: If a line has fewer than 15 fields.
    """
    instances = []
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 15:
            raise ConfigError(f"'{path}' line {number} has {len(fields)} fields; valid: KITTI's 15")
        truncated, occluded, alpha, *rest = (float(field) for field in fields[1:15])
        high, wide, long = rest[4:7]
        label = CATEGORIES.index(fields[0]) if fields[0] in CATEGORIES else -1
        instances.append(
            dict(
                bbox_label=label,
                bbox_label_3d=label,
                bbox=rest[:4],
                bbox_3d=[*rest[7:10], long, high, wide, rest[10]],
                truncated=truncated,
                occluded=int(occluded),
                alpha=alpha,
                score=0.0,
            )
        )
    return instances


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG from its header, :data:`USUAL_SIZE` if the file does not exist.

    Raises:
        ConfigError: If the file is not a PNG.
    """
    if not path.is_file():
        return USUAL_SIZE
    with path.open('rb') as file:
        header = file.read(24)
    if len(header) < 24 or not header.startswith(b'\x89PNG'):
        raise ConfigError(f"'{path}' is not a PNG file; copy it again, or remove image_2 to use {USUAL_SIZE}")
    width, height = struct.unpack('>II', header[16:24])
    return width, height


def frame_names(root: Path, split: str = '') -> list[str]:
    """Return the names of all frames in a folder, or of those that a file lists.

    Args:
        root: Folder that holds ``velodyne``, ``calib`` and ``label_2``.
        split: Path of a file with one name per line, as in KITTI's ``ImageSets``; empty returns all frames.

    Raises:
        ConfigError: If there is no frame, or the file does not exist.
    """
    if split:
        if not Path(split).is_file():
            raise ConfigError(
                f"KittiFolder.ann_file: '{split}' does not exist; valid: a text file of frame names, or ''"
            )
        names = Path(split).read_text(encoding='utf-8').split()
    else:
        names = sorted(path.stem for path in (root / 'velodyne').glob('*.bin'))
    if not names:
        raise ConfigError(f"KittiFolder: no frames in '{split or root / 'velodyne'}'; valid: files named 000000.bin")
    return names


def kitti_infos(root: Path, names: Sequence[str], with_labels: bool = True) -> dict[str, Any]:
    """Return the info entries that MMDetection3D's converter would write.

    Args:
        root: Folder that holds ``velodyne``, ``calib``, ``label_2`` and, for the sizes of images, ``image_2``.
        names: Names of frames, such as ``'000000'``.
        with_labels: Whether ``label_2`` is read.

    Raises:
        ConfigError: If a file is missing or damaged.
    """
    entries = []
    for index, name in enumerate(names):
        files = [root / 'velodyne' / f'{name}.bin', root / 'calib' / f'{name}.txt']
        files += [root / 'label_2' / f'{name}.txt'] if with_labels else []
        missing = next((path for path in files if not path.is_file()), None)
        if missing is not None:
            raise ConfigError(f"KittiFolder: '{missing}' does not exist; each frame needs {len(files)} files")
        lidar2cam, cam2img = read_calibration(files[1])
        width, height = png_size(root / 'image_2' / f'{name}.png')
        camera = dict(
            img_path=f'{name}.png',
            width=width,
            height=height,
            cam2img=cam2img.tolist(),
            lidar2cam=lidar2cam.tolist(),
            lidar2img=(cam2img @ lidar2cam).tolist(),
        )
        entries.append(
            dict(
                sample_idx=index,
                lidar_points=dict(lidar_path=f'{name}.bin', num_pts_feats=4),
                images=dict(CAM2=camera),
                instances=read_labels(files[2]) if with_labels else [],
            )
        )
    categories = {name: label for label, name in enumerate(CATEGORIES)} | {'DontCare': -1}
    return dict(metainfo=dict(categories=categories, dataset='kitti', info_version='1.1'), data_list=entries)
