"""Keypoints in the network's input, and the targets of codecs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kd_plugins.errors import ConfigError
from kd_plugins.pseudo_labels.keypoints import encoded_targets, head_codec, input_keypoints, inside_input

META: dict[str, Any] = dict(
    input_size=(48, 64), input_center=np.array([50.0, 40.0]), input_scale=np.array([90.0, 120.0])
)


def test_the_inverse_of_the_predictions_coordinates() -> None:
    inside = np.random.default_rng(0).uniform(0, 48, (2, 5, 2))
    file = inside / META['input_size'] * META['input_scale'] + META['input_center'] - 0.5 * META['input_scale']
    np.testing.assert_allclose(input_keypoints(file, META), inside, rtol=1e-5, atol=1e-5)


def test_which_keypoints_are_inside() -> None:
    points = np.array([[[0.0, 0.0], [47.9, 63.9], [48.0, 3.0], [-0.1, 3.0], [3.0, 64.0]]])
    assert inside_input(points, META).tolist() == [[True, True, False, False, False]]


def test_targets_are_those_of_the_training_pipeline() -> None:
    transforms = pytest.importorskip('mmpose.datasets.transforms')
    points = np.random.default_rng(0).uniform(4, 44, (1, 5, 2)).astype(np.float32)
    visible = np.array([[1, 1, 0, 1, 1]], np.float32)
    for config in (
        dict(type='SimCCLabel', input_size=(48, 64), sigma=2.0, simcc_split_ratio=2.0),
        dict(type='MSRAHeatmap', input_size=(48, 64), heatmap_size=(12, 16), sigma=1.0),
        dict(type='UDPHeatmap', input_size=(48, 64), heatmap_size=(12, 16), sigma=1.0),
        dict(type='RegressionLabel', input_size=(48, 64)),
    ):
        step = transforms.GenerateTarget(encoder=config)
        results: dict[str, Any] = step(dict(keypoints=points.copy(), keypoints_visible=visible.copy()))
        results['img'] = np.zeros((64, 48, 3), np.uint8)
        expected = transforms.PackPoseInputs(meta_keys=())(results)['data_samples']
        labels, fields = encoded_targets(step.encoder, points.copy(), visible.copy(), 'pseudo')
        assert set(labels.keys()) == set(expected.gt_instance_labels.keys())
        for name, value in expected.gt_instance_labels.items():
            torch.testing.assert_close(labels[name], value)
        assert (fields is not None) == ('gt_fields' in expected)
        if fields is not None:
            torch.testing.assert_close(fields.heatmaps, expected.gt_fields.heatmaps)


def test_codecs_that_do_not_fit() -> None:
    pytest.importorskip('mmpose')
    codec = SimpleNamespace(auxiliary_encode_keys={'bbox'})
    with pytest.raises(ConfigError, match="the codec SimpleNamespace needs 'bbox' beside the keypoints"):
        encoded_targets(codec, np.zeros((1, 2, 2)), np.ones((1, 2)), 'pseudo')
    with pytest.raises(ConfigError, match="pseudo: model.head of 'Identity' has no decoder"):
        head_codec(nn.Identity(), 'pseudo')
