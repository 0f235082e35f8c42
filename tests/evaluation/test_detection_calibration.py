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
    ignored = {'bboxes': region, 'labels': torch.tensor([1])}
    metric.process(None, [sample(ignored_instances=ignored)])
    confidence, right = [0.92, 0.83, 0.72, 0.66], [True, False, False, True]
    assert metric.evaluate(1) == pytest.approx(expected_metrics(confidence, right), abs=1e-6)
    # A region of another class excuses nothing; one without a class excuses every class.
    metric.process(None, [sample(ignored_instances={**ignored, 'labels': torch.tensor([0])})])
    confidence, right = [*confidence, 0.61], [*right, False]
    assert metric.evaluate(1) == pytest.approx(expected_metrics(confidence, right), abs=1e-6)
    metric.process(None, [sample(ignored_instances={'bboxes': region})])
    assert metric.evaluate(1) == pytest.approx(expected_metrics(confidence[:-1], right[:-1]), abs=1e-6)


@pytest.mark.parametrize('iou', [0.5, 0.75])
def test_the_matches_are_those_of_pycocotools(tmp_path: Path, iou: float) -> None:
    pytest.importorskip('mmdet')
    pycocotools = pytest.importorskip('pycocotools.coco')
    from pycocotools.cocoeval import COCOeval

    generator = torch.Generator().manual_seed(0)

    def boxes(number: int, side: float) -> torch.Tensor:
        drawn = torch.rand(number, 4, generator=generator)
        return torch.cat([drawn[:, :2] * 40, 5 + drawn[:, 2:] * side], dim=1)  # x, y, width, height

    objects = torch.cat([boxes(12, 15), boxes(6, 40)])
    crowd, classes = torch.arange(18) >= 12, torch.arange(18) % 2
    near = torch.cat([objects[:12], objects[:12], boxes(30, 20)])
    found = near + torch.randn(54, 4, generator=generator)
    found[:, 2:].clamp_(min=1)
    scores, labels = torch.linspace(0.99, 0.31, 54), torch.randint(2, (54,), generator=generator)
    rows = [
        {'id': one + 1, 'image_id': 7, 'category_id': (5, 3)[label], 'bbox': box, 'area': 100.0, 'iscrowd': int(mark)}
        for one, (box, label, mark) in enumerate(zip(objects.tolist(), classes.tolist(), crowd.tolist()))
    ]
    path = coco_file(tmp_path)
    Path(path).write_text(json.dumps({**json.loads(Path(path).read_text()), 'annotations': rows}))

    truth = pycocotools.COCO(path)
    results = zip(found.tolist(), scores.tolist(), labels.tolist())
    dicts = [{'image_id': 7, 'category_id': (5, 3)[label], 'bbox': box, 'score': p} for box, p, label in results]
    evaluation = COCOeval(truth, truth.loadRes(dicts), 'bbox')
    evaluation.params.iouThrs, evaluation.params.areaRng, evaluation.params.maxDets = [iou], [[0, 1e9]], [100]
    evaluation.params.imgIds = [7]
    evaluation.evaluate()
    expected = []
    for one in filter(None, evaluation.evalImgs):
        counted = zip(one['dtScores'], one['dtMatches'][0] > 0, one['dtIgnore'][0])
        expected += [(score, bool(match)) for score, match, ignored in counted if not ignored]

    metric = DetectionCalibration(ann_file=path, iou=iou)
    metric.dataset_meta = {'classes': ('a', 'b')}
    corners = torch.cat([found[:, :2], found[:, :2] + found[:, 2:]], dim=1)
    confidence, right = metric.predictions(
        {'img_id': 7, 'pred_instances': {'bboxes': corners, 'scores': scores, 'labels': labels}}
    )
    assert sorted(zip(confidence.tolist(), right.tolist())) == sorted(expected)
    assert len(expected) < 54 and {match for _, match in expected} == {False, True}


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


def test_a_coco_file_without_annotations_is_refused(tmp_path: Path) -> None:
    """As that of COCO's test-dev, with ``format_only=True`` in CocoMetric."""
    pytest.importorskip('mmdet')
    path = Path(coco_file(tmp_path))
    path.write_text(json.dumps({**json.loads(path.read_text()), 'annotations': []}))
    metric = DetectionCalibration(ann_file=str(path))
    metric.dataset_meta = {'classes': ('a', 'b')}
    with pytest.raises(ConfigError, match=r"ann_file: '.*truth\.json' has no annotations, .*; give one with objects"):
        metric.process(None, [sample()])


def test_sentences() -> None:
    with pytest.raises(ConfigError, match='the data samples hold no pred_instances; DetectionCalibration needs'):
        DetectionCalibration().process(None, [{'img_id': 7, 'pred_panoptic_seg': {}}])
    without = sample()
    del without['gt_instances']
    with pytest.raises(ConfigError, match='hold no gt_instances; give DetectionCalibration the ann_file'):
        DetectionCalibration().process(None, [without])
    with pytest.raises(ConfigError, match=r'test_evaluator\.iou is 2'):
        DetectionCalibration(iou=2)
