"""AP of every decoder layer of a DETR, measured with the config's own evaluator in one pass over the test data."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ..errors import ConfigError
from ..utils.head_types import is_a

HIGH = (75, 80, 85, 90)
"""IoU thresholds, in percent, of the mean ``AP75-90``."""
Result = dict[str, Any]


@contextmanager
def record_layers(head: Any) -> Iterator[list[list[InstanceData]]]:
    """Record the detections of all decoder layers while a DETR head predicts.

    Args:
        head: Head of MMDetection's DETR family; its predictions, those of the last layer, do not change.

    Yields:
        For every layer the detections of each image of the latest batch, processed like those of the last layer.
    """
    layers: list[list[InstanceData]] = []
    usual = head.predict

    def predict(batch_data_samples: Sequence[Any], rescale: bool = True, **inputs: Any) -> list[InstanceData]:
        scores, boxes = head(**inputs)
        metas = [sample.metainfo for sample in batch_data_samples]
        layers[:] = [
            head.predict_by_feat(scores[part], boxes[part], batch_img_metas=metas, rescale=rescale)
            for part in (slice(layer, layer + 1) for layer in range(len(scores) - 1))
        ]
        # Some heads compute the last layer alone, which rounds differently.
        layers.append(usual(batch_data_samples=batch_data_samples, rescale=rescale, **inputs))
        return layers[-1]

    head.predict = predict
    try:
        yield layers
    finally:
        del head.predict


def mean_precision(precision: Any) -> float:
    """Return the mean over the entries that have objects; -1 if none has, as in pycocotools."""
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else -1.0


def box_precision(metric: Any, file: str) -> dict[str, float]:
    """Return AP and the AP at each IoU threshold, not rounded.

    Args:
        metric: MMDetection's ``CocoMetric``, after it has evaluated.
        file: Its detections in COCO's format.

    Returns:
        ``AP``, ``AP50``, ``AP55``, ..., ``AP95`` and ``AP75-90``, with pycocotools' limits of detections for an image.
    """
    from mmdet.datasets.api_wrappers import COCOeval

    annotations = metric._coco_api  # there is no public name
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(annotations, annotations.loadRes(file), 'bbox')
        parameters = evaluation.params
        parameters.catIds, parameters.imgIds = metric.cat_ids, metric.img_ids
        parameters.maxDets = list(metric.proposal_nums)
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, :, 0]  # IoU thresholds, recalls, classes, limits
    # pycocotools takes AP from the 100 best detections, and AP50 and AP75 from all.
    best = parameters.maxDets.index(100) if 100 in parameters.maxDets else -1
    at = {round(100 * float(iou)): mean_precision(part[..., -1]) for iou, part in zip(parameters.iouThrs, precision)}
    values = {'AP': mean_precision(precision[..., best])} | {f'AP{percent}': value for percent, value in at.items()}
    return values | {'AP75-90': sum(at[percent] for percent in HIGH) / len(HIGH)}


class LayerEvaluator:
    """Evaluator of all decoder layers, which takes the place of the evaluator of a test loop.

    Args:
        evaluators: One for each layer, each with a ``CocoMetric``.
        predictions: List of :func:`record_layers`.
        folder: Folder for the detections of each layer.

    Raises:
        ConfigError: If no metric is a ``CocoMetric`` of boxes.

    Attributes:
        results: For each layer ``layer``, counted from 1, the values of :func:`box_precision`, and ``metrics``, the
            metrics of its evaluator; filled by :meth:`evaluate`.
    """

    def __init__(
        self, evaluators: Sequence[Evaluator], predictions: Sequence[Sequence[InstanceData]], folder: str
    ) -> None:
        from mmdet.evaluation import CocoMetric

        self.evaluators, self.predictions = evaluators, predictions
        self.metrics: list[Any] = []
        self.results: list[Result] = []
        for number, evaluator in enumerate(evaluators):
            boxes = [m for m in evaluator.metrics if isinstance(m, CocoMetric) and 'bbox' in m.metrics]
            if not boxes or boxes[0].format_only:
                raise ConfigError(
                    "test_evaluator has no metric that measures AP of boxes; nearest: dict(type='CocoMetric', "
                    "metric='bbox', ann_file=...)"
                )
            boxes[0].outfile_prefix = str(Path(folder) / str(number))
            self.metrics.append(boxes[0])

    def process(self, data_samples: Sequence[Any], data_batch: Any = None) -> None:
        """Give the detections of each layer to its evaluator, those of the last layer at last."""
        for evaluator, detections in zip(self.evaluators, self.predictions, strict=True):
            for sample, found in zip(data_samples, detections, strict=True):
                sample.pred_instances = found
            evaluator.process(data_samples, data_batch)

    def evaluate(self, size: int) -> dict[str, float]:
        """Fill :attr:`results`; return the metrics of the last layer."""
        self.results.clear()
        for number, (evaluator, metric) in enumerate(zip(self.evaluators, self.metrics), start=1):
            metrics = evaluator.evaluate(size)
            file = f'{metric.outfile_prefix}.bbox.json'
            # An evaluator computes on the first rank; without detections it writes an empty list.
            values = box_precision(metric, file) if is_main_process() and json.loads(Path(file).read_text()) else {}
            self.results.append({'layer': number, **values, 'metrics': metrics})
        return self.results[-1]['metrics']


def check_detector(model: Any) -> None:
    """Refuse a model whose decoder layers do not predict boxes.

    Raises:
        ConfigError: If it is no DETR, or its decoder does not return all layers.
    """
    head = getattr(model, 'bbox_head', None)
    if head is None or not is_a(head, 'DETRHead') or is_a(head, 'GroundingDINOHead'):
        found = type(model if head is None else head).__name__
        raise ConfigError(
            f'model: {found} has no decoder layers whose boxes can be compared; nearest: a DETR such as DINO, '
            'DeformableDETR, DABDETR or DETR, plain or with FDR'
        )
    if not getattr(model.decoder, 'return_intermediate', True):
        raise ConfigError('model.decoder.return_intermediate is False, so only the last layer predicts; set True')


def layer_ap(runner: Runner) -> list[Result]:
    """Test the model of a runner, and evaluate the detections of all decoder layers.

    Args:
        runner: A runner that can test; it loads its checkpoint, and its test loop and model stay as they are.

    Returns:
        See :attr:`LayerEvaluator.results`; AP without ``metrics`` is on the first rank alone.

    Raises:
        ConfigError: If the model is no DETR, or no metric measures AP of boxes.
    """
    model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
    check_detector(model)
    loop: Any = runner.test_loop
    usual = loop.evaluator
    evaluators = [runner.build_evaluator(copy.deepcopy(runner.cfg.test_evaluator)) for _ in model.decoder.layers]
    for evaluator in evaluators:
        evaluator.dataset_meta = usual.dataset_meta
    with TemporaryDirectory() as folder, record_layers(model.bbox_head) as predictions:
        loop.evaluator = LayerEvaluator(evaluators, predictions, folder)
        try:
            runner.test()
            return list(loop.evaluator.results)
        finally:
            loop.evaluator = usual
