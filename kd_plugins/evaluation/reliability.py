"""Reliability diagram: share of right predictions over their confidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..utils.figures import new_figure


def draw_reliability(tables: Mapping[str, Tensor], path: str | Path) -> None:
    """Draw, for each table of bins, the share of right predictions over the mean confidence, and the bins' counts.

    Points on the diagonal are calibrated; below it, the confidence is too high.

    Args:
        tables: Name to the result of :func:`~kd_plugins.evaluation.calibration.confidence_bins`, or the sum of several.
        path: The picture; png, pdf, svg or jpg.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    figure = new_figure(4.6, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color='grey', linestyle='--', linewidth=1)
    for name, table in tables.items():
        used = table[table[:, 0] > 0]
        confidence, right = (used[:, 1] / used[:, 0]).tolist(), (used[:, 2] / used[:, 0]).tolist()
        upper.plot(confidence, right, marker='o', markersize=3.5, label=name)
        lower.plot(confidence, (used[:, 0] / table[:, 0].sum()).tolist(), marker='o', markersize=3.5)
    upper.set_ylabel('share of right predictions')
    upper.set_ylim(0, 1)
    upper.set_xlim(0, 1)
    upper.legend()
    if any(table[:, 0].any() for table in tables.values()):  # matplotlib refuses a scale without a value
        lower.set_yscale('log')
    lower.set_ylabel('share of all')
    lower.set_xlabel('confidence')
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
