"""Generated images for MMDetection that follow the config."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmdet')

from mmdet.datasets.transforms import LoadAnnotations
from mmengine.model import PretrainedInit

from kd_plugins.registry import DATASETS
from kd_plugins.testing import strip_pretrained, use_generated_data
from kd_plugins.testing.detection import GeneratedDetection, generated_dataset, image_size


def config(pipeline: list[dict[str, Any]] = [], **model: Any) -> Config:  # noqa: B006
    dataset = dict(type='CocoDataset', ann_file='a.json', metainfo=dict(classes=('a', 'b')), pipeline=pipeline)
    return Config(dict(model=dict(bbox_head=dict(num_classes=2), **model), train_dataloader=dict(dataset=dataset)))


def test_items() -> None:
    data = GeneratedDetection(('a', 'b', 'c'), num_items=4, length=9, size=(64, 96))
    assert len(data) == 9 and data.metainfo == {'classes': ('a', 'b', 'c')}
    labels = torch.cat([data[index]['data_samples'].gt_instances.labels for index in range(4)])
    assert labels.min() >= 0 and labels.max() < 3
    for index in range(4):
        item = data[index]
        assert item['inputs'].shape == (3, 64, 96) and item['inputs'].dtype == torch.uint8
        boxes = item['data_samples'].gt_instances.bboxes.tensor
        assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0
        assert 'masks' not in item['data_samples'].gt_instances


def test_one_class_alone() -> None:
    data = GeneratedDetection(('only',), num_items=4)
    assert all(data[index]['data_samples'].gt_instances.labels.eq(0).all() for index in range(4))


@pytest.mark.parametrize(
    ('pipeline', 'masks', 'semantic'),
    [
        ([dict(type='LoadAnnotations', with_bbox=True)], False, False),
        ([dict(type='LoadAnnotations', with_mask=True)], True, False),
        ([dict(type='LoadPanopticAnnotations')], True, True),
        ([dict(type='LoadPanopticAnnotations', with_seg=False)], True, False),
        ([dict(type='mmdet.LoadAnnotations', with_mask=True)], True, False),
        ([dict(type=LoadAnnotations, with_mask=True)], True, False),
    ],
)
def test_annotations_that_the_pipeline_loads(pipeline: list[dict[str, Any]], masks: bool, semantic: bool) -> None:
    settings = generated_dataset(config(pipeline))
    assert (settings['with_mask'], settings['with_semantic']) == (masks, semantic)
    sample = DATASETS.build(dict(settings, num_items=1))[0]['data_samples']
    assert ('masks' in sample.gt_instances) == masks and ('gt_sem_seg' in sample) == semantic
    assert settings['classes'] == ('a', 'b')


@pytest.mark.parametrize(('queries', 'size'), [(None, (128, 160)), (300, (128, 160)), (900, (256, 320))])
def test_images_hold_as_many_places_as_a_detr_has_queries(queries: int | None, size: tuple[int, int]) -> None:
    assert image_size(config(num_queries=queries)) == size


def test_weights_of_a_backbone_of_timm_are_stripped() -> None:
    model = {'backbone': {'type': 'kd_plugins.TimmBackbone', 'weights': 'package:a'}, 'neck': {'weights': 'mine'}}
    assert list(strip_pretrained(model)) == ['model.backbone.weights (package:a)']
    assert model == {'backbone': {'type': 'kd_plugins.TimmBackbone', 'weights': None}, 'neck': {'weights': 'mine'}}


def test_weights_that_a_config_of_the_new_style_names_are_stripped() -> None:
    model = {'backbone': {'init_cfg': {'type': PretrainedInit, 'checkpoint': 'torchvision://resnet50'}}}
    assert list(strip_pretrained(model)) == ['model.backbone.init_cfg (torchvision://resnet50)']
    assert model == {'backbone': {'init_cfg': None}}


def test_a_second_pipeline_has_nothing_to_replace() -> None:
    """The steps of the data set are gone, and SecondStageHook would refuse the data set that takes its place."""
    generated = config()
    generated.default_scope = 'mmdet'
    entry = dict(type='kd_plugins.SecondStageHook', stop_epoch=1, pipeline=[dict(type='LoadImageFromFile')])
    generated.default_hooks = dict(second_stage=dict(entry))
    generated.custom_hooks = [dict(entry)]
    use_generated_data(generated)
    assert generated.default_hooks.second_stage.pipeline is None and generated.custom_hooks[0].pipeline is None
    assert generated.default_hooks.second_stage.stop_epoch == 1
