"""Values of data samples come back after a call that replaces them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from kd_plugins.utils.sample_fields import fields_of, kept_fields, restore_fields


def test_values_come_back_and_new_ones_stay() -> None:
    masks, labels, pixels = torch.zeros(2, 3), torch.tensor([1, 2]), PixelData(sem_seg=torch.ones(1, 2, 2))
    instances = InstanceData(masks=masks, labels=labels)
    sample = BaseDataElement(metainfo={'img_id': 3}, gt_instances=instances, gt_sem_seg=pixels)
    fields = fields_of([sample])
    instances.masks, instances.areas = masks.double(), torch.ones(2)
    sample.gt_sem_seg = PixelData()
    del instances.labels
    restore_fields(fields)
    assert sample.gt_instances is instances and sample.gt_sem_seg is pixels
    assert instances.masks is masks and instances.labels is labels and 'areas' in instances


def test_properties_of_detection_samples() -> None:
    pytest.importorskip('mmdet')
    from mmdet.structures import DetDataSample

    sample = DetDataSample(gt_instances=InstanceData(masks=['a']))
    instances = sample.gt_instances
    with kept_fields([sample]):
        sample.gt_instances.masks = ['b']
        sample.gt_instances = InstanceData()
    assert sample.gt_instances is instances and instances.masks == ['a']


def test_values_come_back_after_an_error() -> None:
    instances = InstanceData(masks=['a'])
    with pytest.raises(RuntimeError), kept_fields((instances,)):
        instances.masks = ['b']
        raise RuntimeError
    assert instances.masks == ['a']


@pytest.mark.parametrize('samples', [None, 'labels', torch.ones(2), {'labels': [1]}, [torch.ones(2), 5]])
def test_other_labels_have_no_fields(samples: Any) -> None:
    assert fields_of(samples) == []
