"""Which detections are right, and their calibration, by hand and with a COCO file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.detection_calibration import DetectionCalibration, right_detections
from kd_plugins.registry import METRICS

OBJECTS = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
BOXES = torch.tensor(
    [
        [0.0, 0.0, 10.0, 9.0],  # IoU .9 with the first object
        [0.0, 0.0, 10.0, 10.0],  # IoU 1 with the first object, a lower score
        [20.0, 20.0, 30.0, 30.0],  # the second object in another class
        [20.0, 20.0, 30.0, 26.0],  # IoU .6 with the second object
        [50.0, 50.0, 60.0, 60.0],  # nothing there
        [0.0, 0.0, 10.0, 10.0],  # a score below the threshold
    ]
)
SCORES = torch.tensor([0.92, 0.83, 0.72, 0.66, 0.61, 0.2])
LABELS = torch.tensor([0, 0, 0, 1, 1, 0])
CLASSES = torch.tensor([0, 1])


def sample(**changes: Any) -> dict[str, Any]:
    predicted = {'bboxes': BOXES, 'scores': SCORES, 'labels': LABELS}
    return {'img_id': 7, 'pred_instances': predicted, 'gt_instances': {'bboxes': OBJECTS, 'labels': CLASSES}, **changes}


@pytest.mark.parametrize(
    ('iou', 'expected'),
    [(0.5, [True, False, False, True, False, False]), (0.95, [False, True, False, False, False, False])],
)
def test_an_object_is_matched_once_by_the_best_score(iou: float, expected: list[bool]) -> None:
    assert right_detections(BOXES, SCORES, LABELS, OBJECTS, CLASSES, iou).tolist() == expected
    assert right_detections(BOXES[:0], SCORES[:0], LABELS[:0], OBJECTS, CLASSES, iou).tolist() == []
    assert not right_detections(BOXES, SCORES, LABELS, OBJECTS[:0], CLASSES[:0], iou).any()


def expected_metrics(confidence: list[float], right: list[bool]) -> dict[str, float]:
    """Return the metrics of confidences of which each lies in a bin of its own."""
    return {
        'calibration/error': sum(abs(one - hit) for one, hit in zip(confidence, right)) / len(right),
        'calibration/confidence': sum(confidence) / len(right),
        'calibration/right': sum(right) / len(right),
    }


def test_the_error_by_hand() -> None:
    metric = METRICS.build({'type': 'kd_plugins.DetectionCalibration'})
    metric.process(None, [sample()])
    # Bins of .05: all five detections above .3 have their own.
    confidence, right = [0.92, 0.83, 0.72, 0.66, 0.61], [True, False, False, True, False]
    assert metric.evaluate(1) == pytest.approx(expected_metrics(confidence, right), abs=1e-6)


def test_detections_in_an_ignored_region_do_not_count() -> None:
    metric = DetectionCalibration()
    region = torch.tensor([[45.0, 45.0, 90.0, 90.0]])
    metric.process(None, [sample(ignored_instances={'bboxes': region, 'labels': torch.tensor([0])})])
    confidence, right = [0.92, 0.83, 0.72, 0.66], [True, False, False, True]
    assert metric.evaluate(1) == pytest.approx(expected_metrics(confidence, right), abs=1e-6)


def coco_file(folder: Path, *regions: dict[str, Any]) -> str:
    """Write the two objects of image 7 and further annotations; return the path."""
    annotations = [
        {'id': 1, 'image_id': 7, 'category_id': 5, 'bbox': [0, 0, 10, 10], 'area': 100, 'iscrowd': 0},
        {'id': 2, 'image_id': 7, 'category_id': 3, 'bbox': [20, 20, 10, 10], 'area': 100, 'iscrowd': 0},
        *({'id': 3, 'image_id': 7, 'category_id': 3, 'bbox': [45, 45, 45, 45], 'area': 100, **one} for one in regions),
    ]
    categories = [{'id': 3, 'name': 'b'}, {'id': 5, 'name': 'a'}, {'id': 9, 'name': 'other'}]
    images = [{'id': number, 'file_name': f'{number}.jpg', 'width': 99, 'height': 99} for number in (7, 8)]
    path = folder / 'truth.json'
    path.write_text(json.dumps({'images': images, 'annotations': annotations, 'categories': categories}))
    return str(path)


@pytest.mark.parametrize('mark', [{'iscrowd': 1}, {'iscrowd': 0, 'ignore': 1}])
def test_the_truth_of_a_coco_file(tmp_path: Path, mark: dict[str, int]) -> None:
    pytest.importorskip('mmdet')
    metric = DetectionCalibration(ann_file=coco_file(tmp_path, mark))
    metric.dataset_meta = {'classes': ('a', 'b')}
    scaled = {'bboxes': 2 * OBJECTS, 'labels': CLASSES}
    metric.process(None, [sample(gt_instances=scaled)])
    confidence, right = [0.92, 0.83, 0.72, 0.66], [True, False, False, True]
    assert metric.evaluate(1) == pytest.approx(expected_metrics(confidence, right), abs=1e-6)


def test_a_coco_file_of_other_data_is_refused(tmp_path: Path) -> None:
    pytest.importorskip('mmdet')
    metric = DetectionCalibration(ann_file=coco_file(tmp_path))
    metric.dataset_meta = {'classes': ('a', 'b')}
    metric.process(None, [sample(img_id=8)])  # an image without objects
    with pytest.raises(ConfigError, match=r"ann_file: '.*truth\.json' has no image 9, which test_dataloader gives"):
        metric.process(None, [sample(img_id=9)])
    other = DetectionCalibration(ann_file=coco_file(tmp_path))
    other.dataset_meta = {'classes': ('cat', 'dog')}
    with pytest.raises(ConfigError, match=r"ann_file: '.*truth\.json' has none of the classes .*'cat', 'dog'"):
        other.process(None, [sample()])


def test_sentences() -> None:
    without = sample()
    del without['gt_instances']
    with pytest.raises(ConfigError, match='hold no gt_instances; give DetectionCalibration the ann_file'):
        DetectionCalibration().process(None, [without])
    with pytest.raises(ConfigError, match=r'test_evaluator\.iou is 2'):
        DetectionCalibration(iou=2)
