"""Calibration of the class probabilities of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import METRICS
from .calibration import CalibrationMetric

ROUNDING = 1e-3
"""Largest difference of the probabilities of two classes that rounding exchanges."""


def pixel_probabilities(logits: Tensor) -> Tensor:
    """Return the probability of each class at each pixel.

    Args:
        logits: What MMSegmentation keeps as ``seg_logits``: logits of C > 1 classes, shape (C, H, W), or the
            probability of class 1, shape (1, H, W).

    Returns:
        Shape (C, H, W), with two classes for one channel.

    >>> pixel_probabilities(torch.tensor([[[0.25]]])).flatten()
    tensor([0.7500, 0.2500])
    """
    if len(logits) == 1:
        return torch.cat([1 - logits.float(), logits.float()])
    return logits.float().softmax(0)


@METRICS.register_module()
class PixelCalibration(CalibrationMetric):
    """Expected calibration error of a segmentation: each pixel is a prediction.

    The confidence of a pixel is the probability of its most probable class, the softmax of ``seg_logits``. With the
    default bins the error is that of torchmetrics' ``MulticlassCalibrationError(n_bins=15, norm='l1')``.

    Args:
        ignore_index: Label of pixels that do not count.
        bins, out_dir, collect_device, prefix: See :class:`~kd_plugins.evaluation.calibration.CalibrationMetric`.

    Raises:
        ConfigError: If the data samples hold no ground truth or no logits, or logits of another prediction.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        bins: int = 15,
        out_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(bins, out_dir, collect_device, prefix)
        self.ignore_index = ignore_index

    def predictions(self, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the confidence of each pixel with a label, and whether its most probable class is right."""
        missing = next((name for name in ('seg_logits', 'gt_sem_seg') if name not in sample), None)
        if missing is not None:
            raise ConfigError(
                f'test_evaluator: the data samples hold no {missing}; PixelCalibration needs a segmentor of '
                'MMSegmentation and LoadAnnotations in the test pipeline'
            )
        probabilities = pixel_probabilities(sample['seg_logits']['data'])
        confidence, predicted = probabilities.max(0)
        # One channel is compared with a threshold of the head.
        if 'pred_sem_seg' in sample and len(sample['seg_logits']['data']) > 1:
            given = sample['pred_sem_seg']['data'].reshape(1, *predicted.shape).to(predicted)
            if bool((confidence - probabilities.gather(0, given)[0] > ROUNDING).any()):
                raise ConfigError(
                    'test_evaluator: the seg_logits are not those of pred_sem_seg, as with test-time augmentation, '
                    'which keeps those of the last view; test without it to measure the calibration'
                )
        labels = sample['gt_sem_seg']['data'].squeeze(0).to(predicted.device)
        counts = labels != self.ignore_index
        return confidence[counts], (predicted == labels)[counts]


__all__ = ['PixelCalibration', 'pixel_probabilities']
