"""Small NIfTI data sets for the tests of the data checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

SIZE = (12, 10, 8)


def volume(path: Path, voxels: Any, affine: Any = None) -> None:
    """Write a NIfTI file; floats are stored as they are."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(voxels), np.eye(4) if affine is None else affine), path)


def scaled(path: Path, voxels: Any, dtype: Any = np.int16) -> None:
    """Write floats as scaled integers, as nibabel does for a header of that type."""
    import nibabel

    picture = nibabel.Nifti1Image(np.asarray(voxels, np.float64), np.eye(4))
    picture.set_data_dtype(dtype)
    nibabel.save(picture, path)


def intensities(*shape: int) -> np.ndarray:
    """Return random intensities, by default of :data:`SIZE`."""
    return np.random.RandomState(0).rand(*(shape or SIZE)).astype(np.float32)


def labels(*values: float, dtype: Any = np.uint8) -> np.ndarray:
    """Return labels of :data:`SIZE` that hold these values."""
    voxels = np.zeros(SIZE, dtype)
    for at, value in enumerate(values):
        voxels[at * 3 : at * 3 + 3] = value
    return voxels


def volumes_config(root: Path, steps: list[dict[str, Any]] | None = None, **dataset: Any) -> Config:
    """Write four volumes into a folder; return the config that trains on two and validates on the others.

    Args:
        root: Folder.
        steps: MONAI's transforms of the pipeline.
        dataset: Arguments of both data sets.
    """
    for index in range(4):
        volume(root / 'images' / f'v{index}.nii.gz', intensities())
        volume(root / 'labels' / f'v{index}.nii.gz', labels(0, 1, 2))
    pipeline = [dict(type='kd_plugins.LoadVolume'), dict(type='kd_plugins.MonaiTransforms', transforms=steps or [])]
    node = dict(type='kd_plugins.NiftiDataset', data_root=str(root), data_prefix=dict(img='images/', seg='labels/'))
    node.update(metainfo=dict(classes=('ground', 'a', 'b')), split=dict(train=2, val=2, seed=0), pipeline=pipeline)
    node.update(dataset)
    return Config(
        dict(
            model=dict(type='kd_plugins.VolumetricSegmentor', network=dict(in_channels=1, out_channels=3)),
            train_dataloader=dict(batch_size=1, num_workers=0, dataset=dict(node, part='train')),
            val_dataloader=dict(batch_size=1, num_workers=0, dataset=dict(node, part='val', test_mode=True)),
            val_evaluator=dict(type='kd_plugins.VolumetricMetric'),
        )
    )
