"""D-FINE as a function of two tensors: equal to the prediction, whatever the preprocessor does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')

from kd_plugins.deployment.graph import DetectorGraph
from kd_plugins.deployment.images import smooth_images
from kd_plugins.deployment.onnx_file import apart, predictions
from kd_plugins.errors import ConfigError
from tests.deployment.exported import HEIGHT, WIDTH, detector, rtdetr

SIZES = [(640, 100), (77, 480)]


@pytest.mark.parametrize(
    'preprocessor',
    [
        {},
        {'mean': [103.5, 116.3, 123.7], 'std': [57.4, 57.1, 58.4], 'bgr_to_rgb': False},
        {'mean': None, 'std': None},
    ],
    ids=['release', 'means of BGR', 'raw'],
)
def test_gives_the_prediction_of_mmdetection(preprocessor: dict) -> None:
    model = detector(**{f'data_preprocessor.{key}': value for key, value in preprocessor.items()})
    images = smooth_images(HEIGHT, WIDTH).clamp(0, 1)
    expected, gap = predictions(model, images, SIZES)
    assert gap > 1e-5, 'the selection of queries is no matter of rounding'
    with torch.no_grad():
        outputs = DetectorGraph(model)(images, torch.tensor(SIZES))
    labels, boxes, scores = outputs
    assert labels.shape == scores.shape == (2, 60) and boxes.shape == (2, 60, 4) and labels.dtype == torch.int64
    for index, (width, height) in enumerate(SIZES):
        assert apart([output[index].numpy() for output in outputs], expected[index], max(width, height)) < 1e-4
        assert (boxes[index] <= torch.tensor([width, height] * 2)).all() and (boxes[index] >= 0).all()


@pytest.mark.parametrize('build', [detector, rtdetr])
def test_without_test_cfg_there_are_as_many_detections_as_queries(build: Any) -> None:
    model, images = build(test_cfg=None), smooth_images(HEIGHT, WIDTH, count=1).clamp(0, 1)
    expected, _ = predictions(model, images, SIZES[:1])
    with torch.no_grad():
        labels, _, scores = DetectorGraph(model)(images, torch.tensor(SIZES[:1]))
    assert labels.shape == (1, 20)
    torch.testing.assert_close(scores[0], expected[0].scores, rtol=0, atol=1e-4)


def test_other_models_are_refused() -> None:
    sentence = (
        r"model\.type 'Linear' cannot be exported here; valid: 'kd_plugins\.DFINE', 'kd_plugins\.RTDETR'; MMDeploy ex"
    )
    with pytest.raises(ConfigError, match=sentence):
        DetectorGraph(nn.Linear(1, 1))
