"""Validations that measure nothing: their log says so."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook

PREFIX = 'val/'


class MissingMetrics(Hook):
    """Log NaN for the metrics that a validation lacks.

    MMEngine logs the values of the validation before again. CocoMetric, for one, returns no metric where a detector
    that collapsed finds nothing in the whole data set, and its last validation would be that of an earlier epoch.
    """

    # After the hook that keeps the metrics, before the one that logs them.
    priority = 'NORMAL'

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def before_val_epoch(self, runner: Any) -> None:
        """Count the values of each metric so far."""
        self.counts = _counts(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Add NaN to each metric that got no value."""
        counts = _counts(runner)
        for key in self.counts:
            if counts[key] == self.counts[key]:
                runner.message_hub.update_scalar(key, math.nan)


def _counts(runner: Any) -> dict[str, int]:
    """Return how many values each scalar of the validations has."""
    scalars = runner.message_hub.log_scalars.items()
    return {key: len(buffer.data[0]) for key, buffer in scalars if key.startswith(PREFIX)}
