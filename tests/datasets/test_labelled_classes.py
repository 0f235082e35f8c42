"""COCO data with labels of some classes, through the registry as a config names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.coco_of_animals import CLASSES, data

pytest.importorskip('mmdet')


def test_labels_are_places_in_the_classes_of_the_head(tmp_path: Path) -> None:
    dataset = data(tmp_path, labelled=['cow', 'dog'])
    assert [[one['bbox_label'] for one in dataset.get_data_info(at)['instances']] for at in range(len(dataset))] == [
        [2, 1],
        [],
        [],
    ]
    assert dataset.metainfo['classes'] == CLASSES
    assert len(data(tmp_path, labelled=['dog'], filter_cfg=dict(filter_empty_gt=True))) == 1
    assert len(data(tmp_path, labelled='dog', filter_cfg=dict(filter_empty_gt=True), test_mode=True)) == 3
