"""Choice of the task by the student."""

from __future__ import annotations

from torch import nn

from ...errors import ConfigError
from .detection import DetectionTask
from .pose import PoseTask
from .segmentation import SegmentationTask
from .task import GuidedTask, TaskSettings

TASKS: tuple[type[GuidedTask], ...] = (SegmentationTask, PoseTask, DetectionTask)
"""Tasks that labels can guide; the first that fits a student is its task."""


def task_of(student: nn.Module, settings: TaskSettings) -> GuidedTask:
    """Return the task of a student.

    Args:
        student: A model of MMDetection, MMSegmentation or MMPose.
        settings: Settings of the distiller.

    Raises:
        ConfigError: If no task fits the student, or a setting does not fit its task.
    """
    kind = next((task for task in TASKS if task.fits(student)), None)
    if kind is None or not all(callable(getattr(student, name, None)) for name in ('extract_feat', 'loss')):
        raise ConfigError(
            f'{settings.key}: {type(student).__name__} is no detector with a bbox_head or roi_head of classes, no '
            'segmentor with a decode_head and no top-down pose estimator with heatmaps or SimCC, which '
            'LabelGuidedDistiller needs; nearest: FeatureDistiller with an EMATeacher'
        )
    return kind(student, settings)
