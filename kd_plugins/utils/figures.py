"""Empty figures of matplotlib, which is imported when one is drawn."""

from __future__ import annotations

from typing import Any

from ..errors import MissingDependencyError, import_fault


def new_figure(width: float, height: float) -> Any:
    """Return an empty ``matplotlib.figure.Figure`` that needs no display.

    Args:
        width: Width in inches.
        height: Height in inches.

    Raises:
        MissingDependencyError: If matplotlib is not installed, or cannot be imported.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        fault = import_fault(error, 'matplotlib')
        raise MissingDependencyError(f"pictures need 'matplotlib' (extra 'demo'), and {fault}") from error
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


__all__ = ['new_figure']
