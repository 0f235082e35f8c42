"""Calibration of the scores of detections."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import ConfigError, nearest
from ..ops.boxes import pairwise_iou
from ..registry import METRICS
from ..utils.checks import check_number
from .calibration import CalibrationMetric


def right_detections(
    boxes: Tensor, scores: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor, iou: float
) -> Tensor:
    """Return which detections of an image are right: they match an object of their class that no better one matches.

    From the best score to the worst, a detection takes the free object of its class that it overlaps most, where their
    IoU is at least ``iou``.

    Args:
        boxes: Corners of the detections, shape (N, 4).
        scores: Shape (N,).
        labels: Classes, shape (N,).
        true_boxes: Corners of the objects, shape (K, 4).
        true_labels: Shape (K,).
        iou: Smallest IoU of a match.

    Returns:
        Shape (N,).

    >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0]])
    >>> classes = torch.tensor([1, 1])
    >>> right_detections(boxes, torch.tensor([0.6, 0.9]), classes, boxes[:1], classes[:1], 0.5)
    tensor([False,  True])
    """
    right = torch.zeros(len(boxes), dtype=torch.bool)
    if not len(boxes) or not len(true_boxes):
        return right
    overlaps = pairwise_iou(boxes.double(), true_boxes.double()).cpu()
    overlaps[labels.cpu()[:, None] != true_labels.cpu()] = -1
    for place in scores.argsort(descending=True, stable=True).tolist():
        best = int(overlaps[place].argmax())
        if overlaps[place, best] >= iou:
            right[place] = True
            overlaps[:, best] = -1
    return right


class Truth(NamedTuple):
    """Objects of an image.

    Attributes:
        boxes: Corners, shape (K, 4).
        labels: Classes, shape (K,).
        ignored_boxes: Corners of the ignored objects, shape (I, 4).
        ignored_labels: Their classes, shape (I,); ``None`` where they are of every class.
    """

    boxes: Tensor
    labels: Tensor
    ignored_boxes: Tensor
    ignored_labels: Tensor | None


@METRICS.register_module()
class DetectionCalibration(CalibrationMetric):
    """Detection ECE (Küppers et al., arXiv 2004.13546) over the scores, and the bins of a reliability diagram.

    A detection is right if it matches an object, see :func:`right_detections`. A detection that matches nothing but
    overlaps an object of its class that is marked as crowd, or as ignored, does not count. Ignored objects of the data
    samples without labels are of every class.

    Args:
        score_thr: Detections with a lower score do not count. Most detectors give many boxes with a score near 0,
            which would decide the mean alone.
        iou: Smallest IoU of a match, in (0, 1].
        ann_file: Ground truth as a COCO file, in pixels of the original images. ``None`` takes ``gt_instances`` of the
            data samples.
        bins, out_dir, collect_device, prefix: See :class:`~kd_plugins.evaluation.calibration.CalibrationMetric`.

    Raises:
        ConfigError: If a setting is out of its range, the data samples hold no ground truth, or ``ann_file`` is that of
            other images or classes.
    """

    def __init__(
        self,
        score_thr: float = 0.3,
        iou: float = 0.5,
        ann_file: str | None = None,
        bins: int = 20,
        out_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(bins, out_dir, collect_device, prefix)
        self.score_thr = check_number('test_evaluator.score_thr', score_thr, positive=False, example=0.3)
        self.iou = check_number('test_evaluator.iou', iou, positive=True, example=0.5)
        if self.iou > 1:
            raise ConfigError(f'test_evaluator.iou is {iou}; valid: 0.5, at most 1')
        self.ann_file = ann_file
        self._truth: dict[int, Truth] | None = None

    def predictions(self, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return score of each detection of an image, and whether it is right."""
        if 'pred_instances' not in sample:
            raise ConfigError(
                'test_evaluator: the data samples hold no pred_instances; DetectionCalibration needs a detector of '
                'MMDetection that predicts boxes'
            )
        found = sample['pred_instances']
        keep = found['scores'] >= self.score_thr
        boxes, scores, labels = (_plain(found[name])[keep].cpu() for name in ('bboxes', 'scores', 'labels'))
        truth = self._objects(sample)
        right = right_detections(boxes, scores, labels, truth.boxes, truth.labels, self.iou)
        counts = right | ~_overlap_ignored(boxes, labels, truth, self.iou)
        return scores[counts], right[counts]

    def _objects(self, sample: dict[str, Any]) -> Truth:
        """Return the objects of an image."""
        if self.ann_file is not None:
            if self._truth is None:
                self._truth = self._read()
            if sample['img_id'] not in self._truth:
                raise ConfigError(
                    f"test_evaluator.ann_file: '{self.ann_file}' has no image {sample['img_id']}, which "
                    'test_dataloader gives; valid: the ann_file of its data set'
                )
            return self._truth[sample['img_id']]
        if 'gt_instances' not in sample:
            raise ConfigError(
                'test_evaluator: the data samples hold no gt_instances; give DetectionCalibration the ann_file, or put '
                'LoadAnnotations after the last Resize of the test pipeline'
            )
        ignored = sample.get('ignored_instances', {})
        ignored_boxes = _plain(ignored['bboxes']).cpu() if 'bboxes' in ignored else torch.zeros(0, 4)
        ignored_labels = ignored['labels'].cpu() if 'labels' in ignored else None
        objects = sample['gt_instances']
        return Truth(_plain(objects['bboxes']).cpu(), objects['labels'].cpu(), ignored_boxes, ignored_labels)

    def _read(self) -> dict[int, Truth]:
        from mmdet.datasets.api_wrappers import COCO

        assert self.dataset_meta is not None
        annotations = COCO(self.ann_file)
        if not annotations.anns:
            raise ConfigError(
                f"test_evaluator.ann_file: '{self.ann_file}' has no annotations, as the file of a test set without "
                'labels, so that no detection could be right; give one with objects'
            )
        classes = {
            annotations.get_cat_ids(cat_names=[name])[0]: place
            for place, name in enumerate(self.dataset_meta['classes'])
            if annotations.get_cat_ids(cat_names=[name])
        }
        if not classes:
            names, held = self.dataset_meta['classes'], [one['name'] for one in annotations.cats.values()]
            raise ConfigError(
                f"test_evaluator.ann_file: '{self.ann_file}' has none of the classes of the data set, {tuple(names)}; "
                f'{nearest(names[0], held)}'
            )
        truth = {}
        for image in annotations.get_img_ids():
            found = annotations.load_anns(annotations.get_ann_ids(img_ids=[image]))
            known = [one for one in found if one['category_id'] in classes]
            boxes = _corners(known)
            labels = torch.tensor([classes[one['category_id']] for one in known], dtype=torch.long)
            ignored = torch.tensor([_is_ignored(one) for one in known], dtype=torch.bool)
            truth[image] = Truth(boxes[~ignored], labels[~ignored], boxes[ignored], labels[ignored])
        return truth


def _is_ignored(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get('iscrowd', 0) or annotation.get('ignore', 0))


def _corners(annotations: list[dict[str, Any]]) -> Tensor:
    """Return the boxes of annotations of a COCO file as corners."""
    boxes = torch.tensor([one['bbox'] for one in annotations], dtype=torch.float64).view(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def _plain(boxes: Any) -> Tensor:
    """Return boxes as a tensor, also those of MMDetection's box types."""
    tensor: Tensor = getattr(boxes, 'tensor', boxes)
    return tensor


def _overlap_ignored(boxes: Tensor, labels: Tensor, truth: Truth, iou: float) -> Tensor:
    """Return which boxes have a share of at least ``iou`` of their area inside an ignored one of their class (COCO)."""
    if not len(boxes) or not len(truth.ignored_boxes):
        return torch.zeros(len(boxes), dtype=torch.bool)
    boxes, ignored = boxes.double(), truth.ignored_boxes.double()
    low = torch.maximum(boxes[:, None, :2], ignored[:, :2])
    high = torch.minimum(boxes[:, None, 2:], ignored[:, 2:])
    inside = (high - low).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).clamp(min=1e-12)
    excused = inside / area[:, None] >= iou
    if truth.ignored_labels is not None:
        excused &= labels[:, None] == truth.ignored_labels
    return excused.any(1)


__all__ = ['DetectionCalibration', 'right_detections']
