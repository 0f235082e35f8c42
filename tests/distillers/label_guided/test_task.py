"""Defaults of a task: all maps, all losses, boxes, and the image as an object."""

from __future__ import annotations

from torch import nn

from kd_plugins.distillers.label_guided import GuidedTask, TaskSettings


def test_defaults() -> None:
    settings = TaskSettings('distillers.x')
    assert settings.context and not settings.masks and not settings.reference
    task = GuidedTask(nn.Identity(), settings)
    assert list(task.levels(2)) == [0, 1] and task.counts('loss_cls')
