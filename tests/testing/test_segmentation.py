"""Generated images for MMSegmentation, and pretrained weights in the form of its configs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmseg')

from kd_plugins.registry import DATASETS
from kd_plugins.testing import strip_pretrained, unlabelled_dataset, use_generated_data
from kd_plugins.testing.segmentation import IGNORED, GeneratedSegmentation


def make_config(**changes: Any) -> Config:
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3, size=(512, 1024)),
        decode_head=[dict(num_classes=19), dict(num_classes=19)],
        auxiliary_head=dict(num_classes=7),
    )
    return Config(dict(default_scope='mmseg', model={**model, **changes}, train_dataloader=dict(dataset=dict())))


def test_items() -> None:
    dataset = GeneratedSegmentation(('a', 'b', 'c'), size=(64, 96), channels=4, num_items=3, length=10)
    assert len(dataset) == 10
    for index in range(4):
        item = dataset[index]
        labels = item['data_samples'].gt_sem_seg.data
        assert item['inputs'].shape == (4, 64, 96) and item['inputs'].dtype == torch.uint8
        assert labels.shape == (1, 64, 96) and set(labels.unique().tolist()) == {0, 1, 2, IGNORED}
    assert dataset[0]['inputs'].equal(dataset[3]['inputs'])
    dataset[0]['data_samples'].gt_sem_seg.data.zero_()
    assert dataset[0]['data_samples'].gt_sem_seg.data.any()


def test_unlabelled_items_have_no_labels() -> None:
    config = make_config()
    use_generated_data(config)
    dataset = unlabelled_dataset(config)
    assert config.train_dataloader.dataset.get('labelled') is None and dataset.pop('labelled') is False
    assert dataset == config.train_dataloader.dataset
    labelled, unlabelled = (GeneratedSegmentation(('a', 'b'), num_items=1, labelled=flag)[0] for flag in (True, False))
    assert unlabelled['inputs'].equal(labelled['inputs'])
    assert 'gt_sem_seg' in labelled['data_samples'] and 'gt_sem_seg' not in unlabelled['data_samples']


def test_edges_are_made_as_the_pipeline_makes_them() -> None:
    """The head of PIDNet learns them, and the batch had none."""
    config = make_config()
    steps = [dict(type='LoadAnnotations'), dict(type='mmseg.GenerateEdge', edge_width=4), dict(type='PackSegInputs')]
    config.train_dataloader.dataset.pipeline = steps
    use_generated_data(config)
    item = DATASETS.build(config.train_dataloader.dataset)[0]['data_samples']
    edges, labels = item.gt_edge_map.data, item.gt_sem_seg.data
    assert edges.shape == labels.shape and edges.dtype == torch.int64 and set(edges.unique().tolist()) == {0, 1}
    assert 0 < edges.float().mean() < 0.5


def test_images_follow_the_config() -> None:
    config = make_config()
    use_generated_data(config)
    dataset = config.train_dataloader.dataset
    assert len(dataset.classes) == 19 and config.model.data_preprocessor.size == dataset['size'] == (128, 128)
    divisor = dict(type='SegDataPreProcessor', mean=[0.0], std=[1.0], size_divisor=32)
    config = make_config(data_preprocessor=divisor)
    use_generated_data(config)
    assert config.train_dataloader.dataset.channels == 1 and config.model.data_preprocessor.get('size') is None


def test_pretrained_of_the_older_form_is_removed() -> None:
    config = make_config(pretrained='open-mmlab://resnet50_v1c', backbone=dict(pretrained=None))
    assert list(strip_pretrained(config.model)) == ['model.pretrained (open-mmlab://resnet50_v1c)']
    assert config.model.pretrained is None
