"""Recipes for DETRs, whose predictions belong to queries."""

from __future__ import annotations

from ..distillers.query_points import check_same_queries
from ..errors import ConfigError
from .recipe import Pair, Settings, Unsuitable


def same_queries(pair: Pair) -> Settings:
    """Return the entry of predictions at the same queries; only queries with a place can be drawn as well."""
    try:
        form = check_same_queries('queries', pair.student.model, pair.teacher.model)
    except ConfigError as error:
        raise Unsuitable(str(error).removeprefix('queries: ')) from error
    points: Settings = {} if form.anchors else dict(points=('specific',))
    weight = pair.warm_up(1.0)
    if not pair.frozen:
        # The average of the first epochs detects nothing.
        weight.update(pair.student.schedule(begin=1 / 3, end=1 / 2))
    return dict(distillers=dict(queries=dict(type='kd_plugins.QueryDistiller', **points, weight=weight)))
