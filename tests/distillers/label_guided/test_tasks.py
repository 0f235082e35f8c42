"""Choice of the task by the student."""

from __future__ import annotations

import pytest
from torch import nn

from kd_plugins.distillers.label_guided import DetectionTask, GuidedTask, TaskSettings, task_of
from tests.distillers.common import sentence


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bbox_head = nn.Module()
        self.bbox_head.num_classes = 2

    def extract_feat(self, inputs: object) -> object:
        return inputs

    def loss(self, inputs: object, samples: object) -> dict[str, object]:
        return {}


def test_the_first_that_fits() -> None:
    assert isinstance(task_of(Model(), TaskSettings('x')), DetectionTask)
    with sentence('x: Linear is no detector with a bbox_head or roi_head of classes, no segmentor'):
        task_of(nn.Linear(1, 1), TaskSettings('x'))
    with pytest.raises(NotImplementedError):
        GuidedTask.fits(Model())
