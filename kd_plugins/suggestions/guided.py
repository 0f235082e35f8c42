"""Recipe of label-guided self-distillation, for detectors, segmentors and pose estimators."""

from __future__ import annotations

from typing import Any

from ..distillers.label_guided import DetectionTask, TaskSettings, task_of
from ..errors import ConfigError
from .recipe import Pair, Settings, Unsuitable

NARROW = 256
"""Channels of the instructor where the maps have more, or another number in each level."""
HEADS = 8
"""Heads of its attention, which divide the channels."""
MANY = 100
"""Number in a descriptor from which the encoder is a quarter as wide."""
FEW = 64
"""Channels of the maps up to which it is so as well."""


def label_guided(pair: Pair) -> Settings:
    """Return the entry of label-guided self-distillation, which needs no teacher.

    Raises:
        Unsuitable: If the objects of the model's labels are not known.
    """
    model: Any = pair.student.model
    try:
        task = task_of(model, TaskSettings('distillers.guide'))
    except ConfigError as error:
        raise Unsuitable('the model is no detector, segmentor or top-down pose estimator with such labels') from error
    guide: Settings = dict(type='kd_plugins.LabelGuidedDistiller', begin=0.167)
    few = False
    if isinstance(task, DetectionTask):
        if pair.student.part('roi_head') is not None:
            guide['detach_appearance'] = True
    else:
        head = model.decode_head if pair.student.part('decode_head') is not None else model.head
        channels = getattr(head, 'in_channels', None)
        several = getattr(head, 'input_transform', None) is not None
        if several or not isinstance(channels, int) or channels > NARROW or channels % HEADS:
            guide['channels'] = NARROW
        else:
            few = channels <= FEW
    if task.descriptor_size > MANY or few:
        guide['encoder_width'] = 0.25
    return dict(teacher=None, distillers=dict(guide=guide))
