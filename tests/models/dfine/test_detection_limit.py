"""Tests of the limit of detections on small images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from tests.models.dfine.native import detectors
from tests.models.dfine.native.detectors import CLASSES, batch
from tests.models.rtdetr import detectors as rtdetrs


# 64 pixels have 4 * 4 + 2 * 2 positions at two levels and 8 * 8 more at three, each with three scores.
@pytest.mark.parametrize(('small', 'positions'), [(detectors.small, 20), (rtdetrs.small, 84)])
def test_an_image_with_fewer_positions_than_detections(small: Callable[..., Any], positions: int) -> None:
    model = small(num_queries=300, **{'test_cfg.max_per_img': 300}).eval()
    data = batch(model, [2], shapes=[(64, 64)])
    with torch.no_grad():
        (sample,) = model.predict(data['inputs'], data['data_samples'], rescale=False)
    assert len(sample.pred_instances) == positions * CLASSES and model.bbox_head.test_cfg.max_per_img == 300
