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

from ..errors import ConfigError, nearest

CATEGORIES = ('Pedestrian', 'Cyclist', 'Car', 'Van', 'Truck', 'Person_sitting', 'Tram', 'Misc')
"""Names of KITTI's labels in the order of MMDetection3D."""
USUAL_SIZE = (1242, 375)
"""Width and height of most of KITTI's images, taken where there is no image."""
OTHER_FORMATS = ('.jpg', '.jpeg', '.JPG', '.PNG', '.bmp')
"""Suffixes of images whose size would be passed over."""

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
    rows = (line.partition(':') for line in _lines(path) if line.strip())
    values = {name: _numbers(path, numbers.split()) for name, _, numbers in rows}
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


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is not a text file; copy it again") from error


def _numbers(path: Path, fields: Sequence[str]) -> NDArray[np.float64]:
    try:
        return np.array(fields, dtype=np.float64)
    except ValueError:
        return np.array([np.nan])


def label_rows(path: Path) -> list[tuple[int, str, list[float]]]:
    """Return line number, name and the 14 numbers of each object in a file of ``label_2``.

    Raises:
        ConfigError: If a line has fewer than 15 fields, or a field is no number.
    """
    rows = []
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 15:
            raise ConfigError(f"'{path}' line {number} has {len(fields)} fields; valid: KITTI's 15")
        values = _numbers(path, fields[1:15])
        if len(values) != 14 or not np.isfinite(values).all():
            raise ConfigError(
                f"'{path}' line {number} is {line.strip()[:60]!r}; valid: a name without spaces, and 14 finite numbers"
            )
        rows.append((number, fields[0], values.tolist()))
    return rows


def categories_for(classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return KITTI's categories, followed by classes that KITTI does not have.

    >>> categories_for(['Pallet', 'Car'])[-2:]
    ('Misc', 'Pallet')
    """
    return (*CATEGORIES, *(name for name in classes or () if name not in CATEGORIES))


def read_labels(path: Path, categories: Sequence[str] = CATEGORIES) -> list[dict[str, Any]]:
    """Return the objects of a file of ``label_2`` as instances of MMDetection3D's infos, DontCare areas included.

    Args:
        path: The file.
        categories: Names of the labels; any other name, such as ``DontCare``, has the label -1.

    Raises:
        ConfigError: If a line has fewer than 15 fields, or a field is no number.
    """
    index_of = {name: index for index, name in enumerate(categories)}
    instances = []
    for _, name, (truncated, occluded, alpha, *rest) in label_rows(path):
        high, wide, long = rest[4:7]
        label = index_of.get(name, -1)
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
        ConfigError: If the file is not a PNG, or there is an image of another format in its place.
    """
    if not path.is_file():
        other = next((file for file in map(path.with_suffix, OTHER_FORMATS) if file.is_file()), None)
        if other is not None:
            raise ConfigError(
                f"'{other}' is not read; convert it to '{path.name}', or remove image_2 to use {USUAL_SIZE}"
            )
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


def frame_files(root: Path, name: str, with_labels: bool) -> list[Path]:
    """Return the files of a frame: cloud, calibration and, with them, labels.

    Raises:
        ConfigError: If a file does not exist.
    """
    files = [root / 'velodyne' / f'{name}.bin', root / 'calib' / f'{name}.txt']
    files += [root / 'label_2' / f'{name}.txt'] if with_labels else []
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        others = sorted(path.name for path in missing.parent.glob(f'*{missing.suffix}'))
        raise ConfigError(
            f"KittiFolder: '{missing}' does not exist; each frame needs {len(files)} files; "
            f'{nearest(missing.name, others[:2000], 1)}'
        )
    return files


def kitti_infos(
    root: Path, names: Sequence[str], with_labels: bool = True, categories: Sequence[str] = CATEGORIES
) -> dict[str, Any]:
    """Return the info entries that MMDetection3D's converter would write.

    Args:
        root: Folder that holds ``velodyne``, ``calib``, ``label_2`` and, for the sizes of images, ``image_2``.
        names: Names of frames, such as ``'000000'``.
        with_labels: Whether ``label_2`` is read.
        categories: See :func:`read_labels`.

    Raises:
        ConfigError: If a file is missing or damaged.
    """
    entries = []
    for index, name in enumerate(names):
        files = frame_files(root, name, with_labels)
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
                instances=read_labels(files[2], categories) if with_labels else [],
            )
        )
    labels = {name: label for label, name in enumerate(categories)} | {'DontCare': -1}
    return dict(metainfo=dict(categories=labels, dataset='kitti', info_version='1.1'), data_list=entries)
