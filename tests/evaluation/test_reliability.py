"""The reliability diagram: one line for each table, through the means of its bins that hold something."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kd_plugins.evaluation.calibration import confidence_bins
from kd_plugins.evaluation.reliability import draw_reliability


def test_lines_go_through_the_means_of_the_bins(tmp_path: Path) -> None:
    figure_module = pytest.importorskip('matplotlib.figure')
    seen: list[tuple[list[float], list[float]]] = []
    plot = figure_module.Figure.savefig

    def keep(figure: object, *args: object, **kwargs: object) -> None:
        seen.extend((list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[0].lines)  # type: ignore[attr-defined]
        plot(figure, *args, **kwargs)

    figure_module.Figure.savefig = keep
    try:
        table = confidence_bins(torch.tensor([0.5, 0.25, 0.75]), torch.tensor([True, False, True]), 4)
        draw_reliability({'plain': table, 'none': torch.zeros(4, 3)}, tmp_path / 'r.png')
    finally:
        figure_module.Figure.savefig = plot
    assert seen == [([0, 1], [0, 1]), ([0.25, 0.5, 0.75], [0.0, 1.0, 1.0]), ([], [])]
    assert (tmp_path / 'r.png').is_file()


def test_a_detector_that_finds_nothing_has_an_empty_diagram(tmp_path: Path) -> None:
    """An untrained detector gives no box; the test would end in an error of matplotlib's logarithmic scale."""
    pytest.importorskip('matplotlib')
    draw_reliability({'test': torch.zeros(4, 3)}, tmp_path / 'r.png')
    assert (tmp_path / 'r.png').read_bytes().startswith(b'\x89PNG')
