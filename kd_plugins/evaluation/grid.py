"""Label volumes between grids, and back into NIfTI files."""

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
    """Return labels on another grid: each voxel takes the label of the nearest voxel, 0 outside of the old grid.

    Exact where the grids share their voxel centres, which flips, permuted axes, crops and padding keep.

    Args:
        labels: Class indices of shape (1, ...).
        affine: From their voxel indices to millimetres, shape (4, 4).
        target_affine: That of the other grid.
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
    here, there = (torch.as_tensor(np.asarray(entry, dtype=np.float64)) for entry in (affine, target_affine))
    volume = MetaTensor(labels.double(), affine=here)
    found: Any = resample(volume, dst_affine=there, spatial_size=tuple(target_shape))
    result: Tensor = found.as_tensor().round().long()
    return result


def save_labels(path: str | Path, labels: Tensor, affine: Any, like: str | None = None) -> None:
    """Write labels as NIfTI, as unsigned integers.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``; its folder is made where it is missing.
        labels: Class indices of shape (1, X, Y, Z).
        affine: From voxel indices to millimetres, shape (4, 4).
        like: A NIfTI file on the same grid whose codes of ``qform`` and ``sform`` and whose units are taken over.
    """
    import nibabel

    values = labels[0].cpu().numpy()
    image = nibabel.Nifti1Image(
        values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16), np.asarray(affine)
    )
    image.header.set_xyzt_units('mm')
    if like is not None:
        theirs: Any = nibabel.load(like).header
        image.header.set_xyzt_units(*theirs.get_xyzt_units())
        codes = int(theirs['sform_code']), int(theirs['qform_code'])
        if any(codes):
            image.set_sform(affine, codes[0])
            image.set_qform(affine, codes[1])
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Ranks that pad the data set to one length may write a volume twice.
    partial = target.with_name(f'.{os.getpid()}.{target.name}')
    nibabel.save(image, str(partial))
    partial.replace(target)


__all__ = ['resample_labels', 'save_labels']
