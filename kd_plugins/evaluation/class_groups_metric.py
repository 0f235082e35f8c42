"""Subclass of MMDetection's ``CocoMetric`` that :func:`kd_plugins.evaluation.class_group_coco_metric` builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any

from mmdet.evaluation import CocoMetric

from ..errors import ConfigError, nearest
from ..utils.argument_types import shown

KEY = 'ClassGroupCocoMetric.groups'


class ClassGroupMetric(CocoMetric):
    """MMDetection's ``CocoMetric`` with the mean AP of groups of classes, in [0, 1].

    Args:
        groups: Name of each group to the names of its classes.
        metric: ``'bbox'``.
        arguments: Other arguments of ``CocoMetric``; ``classwise`` is always True.

    Raises:
        ConfigError: If a group holds no name, or ``metric`` is another one.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]], metric: Any = 'bbox', **arguments: Any) -> None:
        if not groups or not all(names and not isinstance(names, str) for names in groups.values()):
            raise ConfigError(f"{KEY} is {shown(groups)}; give for example dict(old=['cat', 'dog'], new=['cow'])")
        if metric not in ('bbox', ['bbox'], ('bbox',)):
            raise ConfigError(f"ClassGroupCocoMetric.metric is {shown(metric)}; valid: 'bbox'")
        self.groups = {name: tuple(names) for name, names in groups.items()}
        super().__init__(metric=metric, **{**arguments, 'classwise': True})

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the values of ``CocoMetric`` and ``GROUP_mAP``; like it, nothing where nothing was detected at all."""
        classes = list((self.dataset_meta or {}).get('classes') or ())
        for group, names in self.groups.items():
            wrong = next((name for name in names if name not in classes), None)
            if wrong is not None:
                raise ConfigError(f'{KEY}.{group} holds {wrong!r}, which the data do not; {nearest(wrong, classes)}')
        values: dict[str, float] = super().compute_metrics(results)
        if not values:
            return values
        for group, names in self.groups.items():
            precisions = [float(values[f'{name}_precision']) for name in names]
            counted = [one for one in precisions if not isnan(one)]
            values[f'{group}_mAP'] = sum(counted) / len(counted) if counted else nan
        return values
