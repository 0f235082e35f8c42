"""Selection of instances."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('mmdet')

from kd_plugins.datasets.detection_transforms.instances import keep_instances
from tests.datasets.detection_transforms.items import BOXES, item


def test_every_field_is_selected_and_absent_ones_stay_absent() -> None:
    results = item(ignored=[False, True, False])
    del results['gt_masks']
    keep_instances(results, np.array([False, True, True]))
    assert results['gt_bboxes'].tensor.tolist() == [list(box) for box in BOXES[1:]]
    assert results['gt_bboxes_labels'].tolist() == [1, 2] and results['gt_ignore_flags'].tolist() == [True, False]
    assert 'gt_masks' not in results
