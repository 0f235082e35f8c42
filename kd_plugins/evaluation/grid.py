"""Resampling of label volumes between grids, and writing them as NIfTI files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

AFFINE_TOLERANCE = 1e-4


def resample_labels(labels: Tensor, affine: Any, target_affine: Any, target_shape: Sequence[int]) -> Tensor:
    """Return labels on another grid: each voxel takes the label of the nearest voxel, or 0 outside the old grid.

    The result is exact if the grids share their voxel centres, as after flips, permutations of axes, crops and padding.

    Args:
        labels: Class indices of shape (1, ...).
        affine: Matrix from voxel indices of the labels to millimetres, shape (4, 4).
        target_affine: Matrix from voxel indices of the other grid to millimetres.
        target_shape: Shape of the other grid.

    Returns:
        int64 of shape (1, ...).
    """
    same = tuple(labels.shape[1:]) == tuple(target_shape)
    if same and np.allclose(affine, target_affine, atol=AFFINE_TOLERANCE):
        return labels.long()
    from monai.data import MetaTensor
    from monai.transforms import SpatialResample

    resample = SpatialResample(mode='nearest', padding_mode='zeros', dtype=np.float64)
    source, target = (torch.as_tensor(np.asarray(matrix, dtype=np.float64)) for matrix in (affine, target_affine))
    volume = MetaTensor(labels.double(), affine=source)
    resampled: Any = resample(volume, dst_affine=target, spatial_size=tuple(target_shape))
    result: Tensor = resampled.as_tensor().round().long()
    return result


def save_labels(path: str | Path, labels: Tensor, affine: Any, like: str | None = None) -> None:
    """Write labels as a NIfTI file of unsigned integers.

    Args:
        path: Path with the ending ``.nii`` or ``.nii.gz``; a missing folder is created.
        labels: Class indices of shape (1, X, Y, Z).
        affine: Matrix from voxel indices to millimetres, shape (4, 4).
        like: NIfTI file on the same grid whose ``qform`` and ``sform`` codes and units are copied.
    """
    import nibabel

    values = labels[0].cpu().numpy()
    image = nibabel.Nifti1Image(
        values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16), np.asarray(affine)
    )
    image.header.set_xyzt_units('mm')
    if like is not None:
        header: Any = nibabel.load(like).header
        image.header.set_xyzt_units(*header.get_xyzt_units())
        codes = int(header['sform_code']), int(header['qform_code'])
        if any(codes):
            image.set_sform(affine, codes[0])
            image.set_qform(affine, codes[1])
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Several ranks may write the same volume, since samplers repeat items to give all ranks the same number.
    partial = target.with_name(f'.{os.getpid()}.{target.name}')
    nibabel.save(image, str(partial))
    partial.replace(target)


__all__ = ['resample_labels', 'save_labels']
