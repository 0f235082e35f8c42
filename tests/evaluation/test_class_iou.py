"""IoU of single classes: by hand, ignored pixels, and MMSegmentation's own numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation import ClassIoUMetric, class_iou

CLASSES = ('cell', 'membrane', 'absent')


def sample(predicted: Tensor, labels: Tensor) -> dict[str, Any]:
    return dict(pred_sem_seg=dict(data=predicted[None]), gt_sem_seg=dict(data=labels[None]))


def measured(metric: BaseMetric, samples: list[dict[str, Any]]) -> dict[str, float]:
    metric.dataset_meta = {'classes': CLASSES}
    for one in samples:
        metric.process({}, [one])
    return metric.evaluate(len(samples))


def test_values_by_hand() -> None:
    first = sample(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, 255]]))
    second = sample(torch.tensor([[0, 0]]), torch.tensor([[1, 0]]))
    values = measured(ClassIoUMetric(), [first, second])
    # cell: 2 of 4 pixels; membrane: 1 of 3 pixels, without the ignored one.
    assert values['IoU_cell'] == pytest.approx(50.0) and values['IoU_membrane'] == pytest.approx(100 / 3)
    assert np.isnan(values['IoU_absent']) and list(values) == [f'IoU_{name}' for name in CLASSES]


def test_mean_is_that_of_mmsegmentation() -> None:
    evaluation = pytest.importorskip('mmseg.evaluation')
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(3):
        labels = torch.randint(0, 3, (16, 20), generator=generator)
        labels[:2] = 255
        samples.append(sample(torch.randint(0, 3, (16, 20), generator=generator), labels))
    values = measured(ClassIoUMetric(), samples)
    expected = measured(evaluation.IoUMetric(iou_metrics=['mIoU']), samples)['mIoU']
    assert np.mean(list(values.values())) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(('place', 'what'), [('pred_sem_seg', 'predictions'), ('gt_sem_seg', 'labels')])
def test_a_class_that_the_data_do_not_have_is_refused(place: str, what: str) -> None:
    one = sample(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))
    one[place]['data'][0, 0, 1] = 3
    with pytest.raises(ConfigError, match=f'the {what} hold class 3, and .* has 3 classes'):
        measured(ClassIoUMetric(), [one])


def test_perfect_prediction() -> None:
    assert class_iou(torch.diag(torch.tensor([3, 5]))).tolist() == [1.0, 1.0]
