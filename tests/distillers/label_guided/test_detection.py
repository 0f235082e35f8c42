"""Objects of detectors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.distillers.label_guided import DetectionTask, TaskSettings
from tests.distillers.common import cascade
from tests.distillers.label_guided.pictures import labelled_batch


def detector(classes: int = 3) -> nn.Module:
    model = nn.Module()
    model.bbox_head = nn.Module()
    model.bbox_head.num_classes = classes
    return model


def test_classes_of_the_head() -> None:
    assert DetectionTask.fits(detector()) and not DetectionTask.fits(nn.Module())
    assert DetectionTask(detector(5), TaskSettings('x')).descriptor_size == 9
    pytest.importorskip('mmdet')
    assert DetectionTask(cascade(), TaskSettings('x', masks=True)).descriptor_size == 4 + 3 + 49


@pytest.mark.parametrize('label', [3, 90])
def test_a_class_that_the_head_does_not_have(label: int) -> None:
    """As in MMDetection's dense heads, such a box is background, and no object of the last class."""
    boxes = [[[8.0, 8.0, 24.0, 24.0], [0.0, 0.0, 32.0, 16.0]], [[8.0, 8.0, 24.0, 24.0]]]
    task = DetectionTask(detector(), TaskSettings('x', context=False))
    objects = task.objects(labelled_batch(boxes, [[label, 1], [label]]), torch.zeros(2, 1))
    assert objects.labels.tolist() == [[-1, 1], [-1, -1]] and objects.valid.tolist() == [[False, True], [False] * 2]
    assert not objects.cells((8, 8), None)[~objects.valid].any()
    assert (objects.descriptors[0, 0, 4:] == -1).all()


@pytest.mark.parametrize('masks', [False, True])
def test_objects(masks: bool) -> None:
    batch = labelled_batch([[[0.0, 0.0, 32.0, 16.0]], []], [[1], []])
    for sample, count in zip(batch.data_samples, (1, 0)):
        sample.gt_instances.masks = torch.ones(count, 64, 64)
    task = DetectionTask(detector(), TaskSettings('x', masks=masks))
    objects = task.objects(batch, torch.zeros(2, 1))
    assert objects.descriptors.shape == (2, 2, task.descriptor_size) and (objects.descriptors.abs() <= 1).all()
    assert objects.labels.tolist() == [[-1, 1], [-1, -1]] and objects.real.tolist() == [[False, True], [False, False]]
    assert objects.valid.tolist() == [[True, True], [True, False]]
    # The mask is that of the whole image, whatever the box.
    assert objects.cells((8, 8), None).sum(dim=(2, 3)).tolist() == [[64, 64 if masks else 8], [64, 0]]
