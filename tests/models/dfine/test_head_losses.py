"""Split of the queries into those of the denoising and those of the matching."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.structures import DetDataSample

from kd_plugins.models.dfine import Denoising
from kd_plugins.models.dfine.head_losses import losses_of_queries
from tests.models.dfine.common import SHAPE, criterion, evaluate, predictions, truths


def test_the_first_queries_are_those_of_the_denoising() -> None:
    objects, noised, matched = truths([2, 1]), predictions(queries=8, seed=1), predictions(queries=7)
    samples = []
    for truth in objects:
        sample = DetDataSample(metainfo=dict(img_shape=SHAPE))
        sample.gt_instances = truth
        samples.append(sample)
    dims = (2, 2, 2, 1, 1)
    together = type(matched)(*(torch.cat(parts, dim=dim) for *parts, dim in zip(noised, matched, dims)))
    made = criterion()
    with torch.autocast('cpu', torch.bfloat16):
        meta = dict(num_denoising_queries=8, num_denoising_groups=2)
        actual = losses_of_queries(made, together, samples, dn_meta=meta)
    expected = evaluate(made, matched, objects, denoising=Denoising(noised, 2))
    assert actual.keys() == expected.keys()
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
    alone = losses_of_queries(made, matched, samples)
    torch.testing.assert_close(alone, evaluate(made, matched, objects))
