"""Classes that are present in each image."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kd_plugins.distillers import Batch
from kd_plugins.distillers.presence import class_count, present_classes
from tests.distillers.common import cascade, sentence
from tests.distillers.label_guided.pictures import labelled_batch
from tests.distillers.pixels import labelled


def test_boxes_pixels_and_images() -> None:
    like, key = torch.zeros(1), 'distillers.x'
    box = [0.0, 0.0, 8.0, 8.0]
    boxes = labelled_batch([[box] * 3, []], [[2, 2, 0], []])
    assert present_classes(boxes, 3, like, key).tolist() == [[1, 0, 1], [0, 0, 0]]
    pixels = labelled()
    pixels.data_samples[0].gt_sem_seg.data[:] = 1
    pixels.data_samples[1].gt_sem_seg.data[:] = 255
    pixels.data_samples[1].gt_sem_seg.data[0, 3, 4] = 3
    assert present_classes(pixels, 4, like, key).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    image = Batch(torch.zeros(1, 3, 8, 8), [SimpleNamespace(gt_label=torch.tensor([1]))])
    assert present_classes(image, 2, like, key).tolist() == [[0, 1]]


def test_a_batch_without_classes() -> None:
    for samples in (None, [SimpleNamespace()], [SimpleNamespace(gt_instances=SimpleNamespace(bboxes=1))]):
        with sentence('distillers.x learns which classes an image has, and the batch has no gt_instances.labels'):
            present_classes(Batch(torch.zeros(1, 3, 8, 8), samples), 3, torch.zeros(1), 'distillers.x')


def test_number_of_classes() -> None:
    model = nn.Module()
    assert class_count(model) is None
    model.head = nn.Module()
    assert class_count(model) is None
    model.head.num_classes = 7
    assert class_count(model) == 7
    pytest.importorskip('mmdet')
    assert class_count(cascade()) == 3
