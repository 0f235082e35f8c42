"""The data sample of a volume goes through what MMEngine does with samples."""

from __future__ import annotations

import torch
from mmengine.structures import BaseDataElement

from kd_plugins.structures import VolumeDataSample


def test_labels_and_origin_stay_together() -> None:
    sample = VolumeDataSample(metainfo=dict(img_path='a.nii.gz', spacing=(1.0, 1.0, 2.0)))
    sample.gt_sem_seg = BaseDataElement(data=torch.ones(1, 2, 3, 4, dtype=torch.long))
    copied = sample.new().to(torch.device('cpu'))
    assert isinstance(copied, VolumeDataSample) and copied.spacing == (1.0, 1.0, 2.0)
    assert copied.gt_sem_seg.data.shape == (1, 2, 3, 4) and copied.gt_sem_seg.data.dtype == torch.long
    assert sample.to_dict()['gt_sem_seg']['data'].sum() == 24
    assert 'pred_sem_seg' not in sample
