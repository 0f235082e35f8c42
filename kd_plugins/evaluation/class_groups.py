"""COCO's average precision of groups of classes, such as those of an earlier and of a later task."""

from __future__ import annotations

from typing import Any

from ..registry import METRICS


@METRICS.register_module(name='ClassGroupCocoMetric')
def class_group_coco_metric(**arguments: Any) -> Any:
    """Build a ``CocoMetric`` that adds the mean AP of groups (``type='kd_plugins.ClassGroupCocoMetric'``).

    With ``groups=dict(old=['RBC', 'WBC'], new=['Platelets'])`` it also returns ``coco/old_mAP`` and ``coco/new_mAP``:
    the means of the ``NAME_precision`` that ``classwise=True`` gives, each rounded to three digits by MMDetection. A
    class without an object in the data does not count.

    Args:
        arguments: ``groups``, and the arguments of MMDetection's ``CocoMetric``; ``metric`` must be ``'bbox'``.

    Raises:
        ConfigError: If a group is empty, or ``metric`` is another one.
    """
    from .class_groups_metric import ClassGroupMetric

    return ClassGroupMetric(**arguments)
