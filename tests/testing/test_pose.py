"""Generated persons have the targets that the codec of the config makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope

from kd_plugins.config.loading import register_scope
from kd_plugins.config.reading import read_config
from kd_plugins.errors import ConfigError
from kd_plugins.testing import strip_pretrained, use_generated_data

pytest.importorskip('mmpose')
from mmpose.registry import KEYPOINT_CODECS

DWPOSE = Path(__file__).resolve().parents[2] / 'configs' / 'dwpose'
WHOLEBODY = 'mmpose::wholebody_2d_keypoint/rtmpose/ubody/rtmpose-t_8xb64-270e_coco-ubody-wholebody-256x192.py'
RLE = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py'
CASES = {
    'simcc': (str(DWPOSE / 'rtmpose-t_lspet.py'), 14, (160, 192)),
    'heatmap': (str(DWPOSE / 'simplebaseline-r18_lspet.py'), 14, (96, 128)),
    'simcc whole-body': (WHOLEBODY, 133, (192, 256)),
    'rle': (RLE, 17, (192, 256)),
}


@pytest.fixture(autouse=True)
def scope():
    register_scope('mmpose')
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


def generated(name: str) -> tuple[Config, Any]:
    config = read_config(name)
    use_generated_data(config)
    return config, DATASETS.build(config.train_dataloader.dataset)


def decoded(codec: Any, sample: Any) -> np.ndarray:
    """Return the keypoints that the codec decodes from the targets."""
    labels, fields = sample.gt_instance_labels, sample.get('gt_fields')
    if 'keypoint_x_labels' in labels:
        return codec.decode(labels.keypoint_x_labels.numpy(), labels.keypoint_y_labels.numpy())[0]
    if fields is not None:
        return codec.decode(fields.heatmaps.numpy())[0]
    return codec.decode(labels.keypoint_labels.numpy())[0]


@pytest.mark.parametrize(('path', 'count', 'size'), CASES.values(), ids=CASES)
def test_the_codec_decodes_the_keypoints_from_the_targets(path, count, size):
    config, dataset = generated(path)
    codec = KEYPOINT_CODECS.build(config.codec)
    assert dataset.metainfo['num_keypoints'] == count
    for item in (dataset[0], dataset[1]):
        sample = item['data_samples']
        assert tuple(item['inputs'].shape) == (3, size[1], size[0]) and item['inputs'].dtype == torch.uint8
        visible = sample.gt_instances.keypoints_visible > 0
        keypoints = sample.gt_instances.keypoints[visible]
        assert keypoints.shape[0] > count / 2
        # A heatmap pixel covers 4 x 4 pixels of the image, so a peak is known to about 2 pixels.
        np.testing.assert_allclose(decoded(codec, sample)[visible], keypoints, atol=2)
        np.testing.assert_array_equal(sample.gt_instance_labels.keypoint_weights.numpy() > 0, visible)


@pytest.mark.parametrize('name', ['simcc', 'heatmap', 'rle'])
def test_the_head_accepts_the_batch(name):
    config, dataset = generated(CASES[name][0])
    config.merge_from_dict({'model.backbone.depth': 18, 'model.head.in_channels': 512} if name == 'rle' else {})
    list(strip_pretrained(config.model))
    model = MODELS.build(config.model)
    batch = model.data_preprocessor(pseudo_collate([dataset[0], dataset[1]]), training=True)
    losses = model(**batch, mode='loss')
    assert torch.isfinite(losses['loss_kpt'])


def test_items_repeat_and_are_not_shared():
    _, dataset = generated(CASES['simcc'][0])
    first, again = dataset[0], dataset[8]
    assert torch.equal(first['inputs'], again['inputs'])
    first['inputs'].zero_()
    first['data_samples'].gt_instance_labels.keypoint_x_labels.zero_()
    assert dataset[0]['inputs'].any() and dataset[0]['data_samples'].gt_instance_labels.keypoint_x_labels.any()
    assert not torch.equal(dataset[0]['inputs'], dataset[1]['inputs'])


def test_a_pipeline_without_targets_is_refused():
    config = read_config(CASES['simcc'][0])
    config.train_dataloader.dataset.pipeline = config.val_dataloader.dataset.pipeline
    with pytest.raises(ConfigError, match="no pipeline with a 'GenerateTarget'"):
        use_generated_data(config)


def test_a_pose_estimator_of_whole_images_is_refused():
    """Its steps met a generated person, and one of them raised an assertion."""
    steps = [dict(type='GenerateTarget', encoder=dict(input_size=(64, 64))), dict(type='PackPoseInputs')]
    config = Config(dict(default_scope='mmpose', model=dict(type='BottomupPoseEstimator')))
    config.train_dataloader = dict(dataset=dict(type='CocoDataset', pipeline=steps))
    with pytest.raises(ConfigError, match="model.type is 'BottomupPoseEstimator', for which no data is generated"):
        use_generated_data(config)


def test_a_scope_without_a_generator_is_refused():
    with pytest.raises(ConfigError, match="default_scope is 'mmpretrain'; data is generated for 'mmdet'"):
        use_generated_data(Config(dict(default_scope='mmpretrain')))
