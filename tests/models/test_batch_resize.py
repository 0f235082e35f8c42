"""Sizes of batches: share of each, same sizes after a resume, and geometry of what belongs to the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from torch.nn import functional as F

from kd_plugins.errors import ConfigError
from kd_plugins.models.batch_resize import BatchListResize

SIZES = [32, 64, 64, 64, 96]


@pytest.fixture(autouse=True)
def hub() -> Iterator[MessageHub]:
    instance = MessageHub.get_instance('sizes')
    instance.update_info_dict({'seed': 3, 'iter': 0, 'epoch': 0})
    yield instance


def sizes(module: BatchListResize, count: int, start: int = 0) -> list[int | None]:
    drawn = []
    for step in range(start, start + count):
        MessageHub.get_current_instance().update_info('iter', step)
        drawn.append(module.draw())
    return drawn


def test_repeated_sizes_are_drawn_as_many_times_and_a_resumed_run_draws_the_same(hub: MessageHub) -> None:
    drawn = sizes(BatchListResize(SIZES), 2000)
    counts = Counter(drawn)
    assert [counts[size] / 2000 for size in (32, 64, 96)] == pytest.approx([0.2, 0.6, 0.2], abs=0.03)
    torch.rand(3), np.random.rand(3)
    assert sizes(BatchListResize(SIZES), 100, start=700) == drawn[700:800]
    hub.update_info('seed', 4)
    assert sizes(BatchListResize(SIZES), 100) != drawn[:100]


def test_it_stops_at_an_epoch_and_other_random_numbers_stay(hub: MessageHub) -> None:
    module = BatchListResize(SIZES, stop_epoch=2)
    hub.update_info('epoch', 1)
    torch.manual_seed(0)
    assert None not in sizes(module, 20)
    assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(0)).item()
    hub.update_info('epoch', 2)
    assert set(sizes(module, 20)) == {None}
    inputs, samples = module(torch.ones(1, 3, 64, 64), [])
    assert inputs.shape == (1, 3, 64, 64) and samples == []


def test_boxes_masks_and_shapes_follow_the_images() -> None:
    pytest.importorskip('mmdet')
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    images = torch.arange(2 * 3 * 40 * 80, dtype=torch.float32).view(2, 3, 40, 80)
    sample = DetDataSample(metainfo={'img_shape': (30, 80), 'pad_shape': (40, 80), 'batch_input_shape': (40, 80)})
    boxes = torch.tensor([[10.0, 10.0, 30.0, 20.0]])
    masks = np.zeros((1, 40, 80), np.uint8)
    masks[0, 10:20, 10:30] = 1
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([1]), masks=BitmapMasks(masks, 40, 80))
    sample.ignored_instances = InstanceData(bboxes=boxes + 1)
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(masks.astype(np.int64)))
    resized, (changed, bare) = BatchListResize([60])(images, [sample, DetDataSample(metainfo={'img_shape': (40, 80)})])
    assert resized.shape == (2, 3, 60, 128)  # 120 is rounded to a multiple of 32
    assert torch.equal(resized, F.interpolate(images, (60, 128), mode='nearest'))
    assert changed.img_shape == (45, 128) and changed.pad_shape == changed.batch_input_shape == (60, 128)
    assert changed.gt_instances.bboxes.tolist() == [[16.0, 15.0, 48.0, 30.0]]
    assert changed.ignored_instances.bboxes[0].tolist() == pytest.approx([17.6, 16.5, 49.6, 31.5])
    assert changed.gt_instances.masks.masks.shape == (1, 60, 128)
    rows, columns = np.nonzero(changed.gt_instances.masks.masks[0])
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (16, 15, 48, 30)
    assert changed.gt_sem_seg.sem_seg.shape == (1, 60, 128) and int(changed.gt_sem_seg.sem_seg.sum()) == 32 * 15
    assert boxes.tolist() == [[10.0, 10.0, 30.0, 20.0]], 'the tensors of the loaded batch stay as they are'
    assert bare.img_shape == (60, 128)


def test_an_unpadded_segmentation_map_keeps_its_place() -> None:
    pytest.importorskip('mmdet')
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo={'img_shape': (32, 64), 'pad_shape': (64, 64)})
    labels = torch.zeros(1, 32, 64)
    labels[:, :16] = 1
    sample.gt_sem_seg = PixelData(sem_seg=labels)
    BatchListResize([128])(torch.zeros(1, 3, 64, 64), [sample])
    assert sample.img_shape == (64, 128)
    assert sample.gt_sem_seg.sem_seg.shape == (1, 64, 128) and sample.gt_sem_seg.sem_seg[0, :, 0].sum() == 32


def test_shapes_are_not_rounded_down() -> None:
    pytest.importorskip('mmdet')
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo={'img_shape': (800, 800), 'pad_shape': (800, 800)})
    BatchListResize([928])(torch.zeros(1, 1, 800, 800), [sample])  # 800 * (928 / 800) is 927.99...
    assert sample.img_shape == (928, 928)


def test_only_the_preprocessor_in_training_resizes() -> None:
    pytest.importorskip('mmdet')
    from mmdet.models import DetDataPreprocessor

    module = DetDataPreprocessor(batch_augments=[dict(type='kd_plugins.BatchListResize', sizes=[96])])
    images = [torch.zeros(3, 64, 64, dtype=torch.uint8)]
    assert module({'inputs': images, 'data_samples': None}, training=True)['inputs'].shape == (1, 3, 96, 96)
    assert module({'inputs': images, 'data_samples': None})['inputs'].shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ('settings', 'named'),
    [
        ({'sizes': []}, r'sizes is \[\]'),
        ({'sizes': [32, 4.5]}, 'sizes is'),
        ({'sizes': [32], 'stop_epoch': -1}, 'stop_epoch is -1'),
        ({'sizes': [32], 'synchronised': 'yes'}, 'synchronised'),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        MODELS.build({'type': 'kd_plugins.BatchListResize', **settings})
