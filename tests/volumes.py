"""Small NIfTI files and networks for the volumetric tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = ('background', 'front', 'back')
BOTH = ['image', 'label']
# Left, posterior, inferior axes with three different voxel sizes and an origin.
FLIPPED = np.array([[-0.8, 0, 0, 30.0], [0, -1.5, 0, 12.0], [0, 0, -2.5, -7.0], [0, 0, 0, 1.0]])
# The second axis of the array is the first of the body.
PERMUTED = np.array([[0, 1.2, 0, -4.0], [0.7, 0, 0, 3.0], [0, 0, -2.0, 50.0], [0, 0, 0, 1.0]])
# Turned by 20 degrees about the third axis.
TURN = np.deg2rad(20)
OBLIQUE = np.array(
    [
        [np.cos(TURN), -1.5 * np.sin(TURN), 0, 5.0],
        [np.sin(TURN), 1.5 * np.cos(TURN), 0, -6.0],
        [0, 0, 3.0, 7.0],
        [0, 0, 0, 1.0],
    ]
)
DYNUNET: dict[str, Any] = {
    'type': 'DynUNet',
    'spatial_dims': 3,
    'in_channels': 1,
    'out_channels': 3,
    'kernel_size': (3, 3, 3),
    'strides': (1, 2, 2),
    'upsample_kernel_size': (2, 2),
    'filters': (4, 8, 8),
}


def write_nifti(path: Path, values: NDArray[Any], affine: NDArray[np.float64] | None = None) -> Path:
    """Write an array as it is."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def make_labels(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Return two touching boxes, structures 1 and 2, at a place of their own."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    start = [int(rng.integers(1, max(side // 4, 2))) for side in shape]
    box = tuple(slice(low, low + side // 2) for low, side in zip(start, shape))
    labels[box] = 1
    back = (box[0], slice(start[1] + shape[1] // 4, box[1].stop), box[2])
    labels[back] = 2
    return labels


def make_pair(
    root: Path, name: str, shape: tuple[int, ...] = (12, 14, 10), affine: NDArray[np.float64] | None = None
) -> tuple[Path, Path]:
    """Write an image, whose structures are brighter, and its labels."""
    seed = sum(map(ord, name))
    labels = make_labels(shape, seed)
    image = np.random.default_rng(seed).normal(0, 0.5, shape) + labels
    return (
        write_nifti(root / 'images' / name, (100 * image).astype(np.float32), affine),
        write_nifti(root / 'labels' / name, labels, affine),
    )


def dataset_config(root: Path, pipeline: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the config of a data set over ``root/images`` and ``root/labels``."""
    return {
        'type': 'kd_plugins.NiftiDataset',
        'data_root': str(root),
        'data_prefix': {'img': 'images/', 'seg': 'labels/'},
        'metainfo': {'classes': CLASSES},
        'pipeline': pipeline,
        **more,
    }


def monai_step(*transforms: dict[str, Any]) -> dict[str, Any]:
    """Return the pipeline's step for transforms of MONAI."""
    return {'type': 'kd_plugins.MonaiTransforms', 'transforms': list(transforms)}


LOAD, PACK = {'type': 'kd_plugins.LoadVolume'}, {'type': 'kd_plugins.PackVolume'}
