"""Data sample of a volume, from its file to the metric."""

from __future__ import annotations

from mmengine.structures import BaseDataElement


class VolumeDataSample(BaseDataElement):
    """Labels, prediction and origin of one volume or patch.

    ``metainfo`` holds ``img_path``, ``seg_path`` (``None`` without labels), ``part`` (of the data set, or ``None``) and
    ``affine``, which maps the voxels of the network's input to millimetres. For the file on disk it holds
    ``ori_shape``, ``ori_affine``, ``spacing`` (mm) and ``orientation`` (for example ``'RAS'``).

    Attributes:
        gt_sem_seg: Labels: ``.data`` of shape (1, ...), int64, and the ``.affine`` of their grid.
        pred_sem_seg: Prediction: ``.data`` of shape (1, ...), int64, on the grid of the network's input.

    >>> import torch
    >>> sample = VolumeDataSample(metainfo=dict(img_path='a.nii.gz'))
    >>> sample.gt_sem_seg = BaseDataElement(data=torch.zeros(1, 4, 4, 4, dtype=torch.long))
    >>> sample.gt_sem_seg.data.shape
    torch.Size([1, 4, 4, 4])
    """


__all__ = ['VolumeDataSample']
