"""IoU of single classes of a segmentation, which MMSegmentation prints and does not return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ..errors import ConfigError
from ..registry import METRICS


def class_iou(confusion: Tensor) -> Tensor:
    r"""Return the intersection over union of each class, NaN where no pixel has it.

    .. math:: \mathrm{IoU}_c = \frac{M_{cc}}{\sum_k M_{ck} + \sum_k M_{kc} - M_{cc}}

    Args:
        confusion: Number of pixels by class of the label and predicted class, M, shape (C, C).

    Returns:
        Shape (C,), in [0, 1].

    >>> class_iou(torch.tensor([[6, 2], [0, 0]]))
    tensor([0.7500, 0.0000])
    """
    both = confusion.diagonal()
    return both / (confusion.sum(0) + confusion.sum(1) - both)


def _check_range(classes: Tensor, count: int, what: str, settings: str) -> None:
    odd = classes[(classes < 0) | (classes >= count)]
    if len(odd):
        raise ConfigError(
            f'val_evaluator: the {what} hold class {int(odd[0])}, and metainfo of the data set has {count} classes; '
            f'check {settings}'
        )


@METRICS.register_module()
class ClassIoUMetric(BaseMetric):
    """IoU of each class in percent, over all pixels of the data set: ``IoU_NAME``.

    Args:
        ignore_index: Label of pixels that do not count.
        collect_device: See MMEngine's ``BaseMetric``.
        prefix: See MMEngine's ``BaseMetric``.
    """

    def __init__(self, ignore_index: int = 255, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Count the pixels of one batch.

        Args:
            data_batch: Unused.
            data_samples: Data samples as dicts, with ``pred_sem_seg`` and ``gt_sem_seg``.

        Raises:
            ConfigError: If a pixel that counts has a class that the data set does not have.
        """
        assert self.dataset_meta is not None
        count = len(self.dataset_meta['classes'])
        for sample in data_samples:
            predicted = sample['pred_sem_seg']['data'].flatten().cpu().long()
            labels = sample['gt_sem_seg']['data'].flatten().cpu().long()
            counted = labels != self.ignore_index
            predicted, labels = predicted[counted], labels[counted]
            _check_range(predicted, count, 'predictions', 'model.decode_head.num_classes')
            _check_range(labels, count, 'labels', 'reduce_zero_label and ignore_index')
            pairs = count * labels + predicted
            self.results.append(torch.bincount(pairs, minlength=count**2).view(count, count))

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Return the IoU of each class.

        Args:
            results: Counts of each image.
        """
        assert self.dataset_meta is not None
        values = 100 * class_iou(torch.stack(results).sum(0))
        return {f'IoU_{name}': value for name, value in zip(self.dataset_meta['classes'], values.tolist())}
