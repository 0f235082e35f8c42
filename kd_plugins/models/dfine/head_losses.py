"""From the predictions of all queries to the losses, for the heads that share the criterion."""

from __future__ import annotations

import torch
from mmdet.structures import SampleList
from torch import Tensor

from .criterion import Criterion, Denoising, Predictions, Proposals


def losses_of_queries(
    criterion: Criterion,
    predictions: Predictions,
    batch_data_samples: SampleList,
    proposals: Proposals | None = None,
    dn_meta: dict[str, int] | None = None,
) -> dict[str, Tensor]:
    """Return the losses, each of shape (), of predictions whose first queries are those of the denoising.

    Args:
        criterion: Matching and losses of the head.
        predictions: Predictions of all queries.
        batch_data_samples: Samples with ``gt_instances`` and ``img_shape``.
        proposals: Proposals of two-stage detectors.
        dn_meta: ``num_denoising_queries`` and ``num_denoising_groups``; None for a detector without denoising.
    """
    noised = dn_meta['num_denoising_queries'] if dn_meta else 0
    denoising = None
    if dn_meta is not None:
        denoising = Denoising(predictions.queries(0, noised), dn_meta['num_denoising_groups'])
    matching = predictions.queries(noised, predictions.boxes.shape[2] - noised)
    truths = [sample.gt_instances for sample in batch_data_samples]
    shapes = [sample.metainfo['img_shape'][:2] for sample in batch_data_samples]
    with torch.autocast(predictions.boxes.device.type, enabled=False):
        return criterion(matching, truths, shapes, proposals, denoising)


__all__ = ['losses_of_queries']
