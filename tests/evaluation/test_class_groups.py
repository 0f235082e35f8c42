"""Mean AP of groups of classes, through the registry as a config names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kd_plugins.registry import METRICS

pytest.importorskip('mmdet')
GROUPS = dict(old=['cat', 'dog'], new=['cow'])


def measured(found: list[int], groups: dict[str, list[str]] | None = None) -> dict[str, float]:
    """Return the values for one image with a cat, a dog and a cow, of which some classes are found exactly."""
    metric: Any = METRICS.build(dict(type='ClassGroupCocoMetric', groups=groups or GROUPS))
    metric.dataset_meta = {'classes': ('cat', 'dog', 'cow', 'absent')}
    boxes = np.array([[0.0, 0.0, 40.0, 40.0], [50.0, 0.0, 90.0, 40.0], [0.0, 50.0, 40.0, 90.0]])
    truth = [{'bbox': box.tolist(), 'bbox_label': at, 'ignore_flag': 0} for at, box in enumerate(boxes)]
    predicted = dict(
        bboxes=torch.tensor(boxes[found]), scores=torch.ones(len(found)), labels=torch.tensor(found, dtype=torch.long)
    )
    metric.process({}, [dict(img_id=0, ori_shape=(100, 100), instances=truth, pred_instances=predicted)])
    return metric.evaluate(size=1)


def test_groups() -> None:
    values = measured([0, 2])
    assert values['coco/old_mAP'] == pytest.approx(0.5) and values['coco/new_mAP'] == pytest.approx(1.0)
    assert values['coco/bbox_mAP'] == pytest.approx(2 / 3, abs=1e-3)
    only = measured([0, 2], dict(some=['cow', 'absent'], none=['absent']))
    assert only['coco/some_mAP'] == 1.0 and np.isnan(only['coco/none_mAP'])


def test_nothing_was_found() -> None:
    assert measured([]) == {}, 'as of CocoMetric, so that save_best skips this validation'
