"""Groups of classes that do not fit."""

from __future__ import annotations

import pytest

from kd_plugins.errors import ConfigError

evaluation = pytest.importorskip('mmdet.evaluation')
from kd_plugins.evaluation.class_groups_metric import ClassGroupMetric  # noqa: E402  it needs MMDetection


def test_groups_that_do_not_fit() -> None:
    for settings, match in (
        (dict(groups={}), 'groups is {}; give'),
        (dict(groups=dict(old='cat')), 'give for example'),
        (dict(groups=dict(old=['cat']), metric='segm'), "metric is 'segm'; valid: 'bbox'"),
    ):
        with pytest.raises(ConfigError, match=match):
            ClassGroupMetric(**settings)
    metric = ClassGroupMetric(dict(old=['cta']))
    metric.dataset_meta = {'classes': ('cat', 'dog')}
    with pytest.raises(ConfigError, match="groups.old holds 'cta', which the data do not; nearest: 'cat'"):
        metric.compute_metrics([])
