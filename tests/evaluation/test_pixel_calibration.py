"""Calibration of pixels: confidence, ignored pixels, one class, and the error by its definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.pixel_calibration import PixelCalibration
from kd_plugins.registry import METRICS


def sample(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    return {'seg_logits': {'data': logits}, 'gt_sem_seg': {'data': labels[None]}}


def test_the_error_of_random_pixels_by_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, 30, 40, generator=generator)
    labels = torch.randint(0, 4, (30, 40), generator=generator)
    labels[:3] = 255
    metric = METRICS.build({'type': 'kd_plugins.PixelCalibration'})
    metric.process(None, [sample(logits[:, :15], labels[:15]), sample(logits[:, 15:], labels[15:])])
    confidence, predicted = logits.softmax(0)[:, 3:].flatten(1).max(0)
    right = predicted == labels[3:].flatten()
    expected = 0.0
    for index in range(15):
        members = (confidence * 15).floor() == index
        if members.any():
            gap = right[members].double().mean() - confidence[members].double().mean()
            expected += float(members.double().mean() * gap.abs())
    assert metric.evaluate(2)['calibration/error'] == pytest.approx(expected, abs=1e-7)


def test_one_channel_holds_the_probability_of_the_foreground() -> None:
    metric = PixelCalibration(bins=10)
    metric.process(None, [sample(torch.tensor([[[0.92, 0.15, 0.45]]]), torch.tensor([[1, 1, 0]]))])
    # Confidences .92 (right), .85 (wrong), .55 (right).
    expected = (abs(1 - 0.92) + 0.85 + abs(1 - 0.55)) / 3
    assert metric.evaluate(1)['calibration/error'] == pytest.approx(expected, abs=1e-6)


def test_logits_of_another_prediction_are_refused() -> None:
    one = sample(torch.tensor([[[2.0, 0.0, 1.0]], [[0.0, 2.0, 1.0]]]), torch.tensor([[0, 1, 1]]))
    # MMSegmentation gives the prediction as (1, H, W); the classes of the last pixel are equally probable.
    PixelCalibration().process(None, [{**one, 'pred_sem_seg': {'data': torch.tensor([[[0, 1, 1]]])}}])
    # Test-time augmentation merges the predictions, as (H, W), and leaves the logits of the last view.
    merged = {**one, 'pred_sem_seg': {'data': torch.tensor([[0, 0, 1]])}}
    with pytest.raises(ConfigError, match='seg_logits are not those of pred_sem_seg, as with test-time augmentation'):
        PixelCalibration().process(None, [merged])


@pytest.mark.parametrize('name', ['seg_logits', 'gt_sem_seg'])
def test_a_sample_without_something_is_refused(name: str) -> None:
    lacking = sample(torch.zeros(2, 1, 1), torch.zeros(1, 1))
    del lacking[name]
    with pytest.raises(ConfigError, match=f'the data samples hold no {name}'):
        PixelCalibration().process(None, [lacking])
