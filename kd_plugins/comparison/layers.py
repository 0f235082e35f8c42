"""AP of every decoder layer of the arms of a comparison of DETRs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .formatting import spread
from .statistics import summarize

LAYERS = 'layers.json'
"""File in the folder of a run that ``kd_plugins show layer-ap`` has written."""
SHOWN = ('AP', 'AP75', 'AP75-90')

Layers = dict[str, list[float]]
"""Metric to its value at each layer, the first layer first."""


def read_layers(
    folders: Mapping[str, Mapping[int, Path]], recorded: Mapping[str, Mapping[int, Layers | None]] | None = None
) -> dict[str, dict[str, Layers]]:
    """Return the metrics of the layers by arm and seed; runs whose layers were not measured are left out.

    Args:
        folders: Arm to seed to the folder of the run.
        recorded: Arm to seed to the metrics of runs that come from the committed record.
    """
    found: dict[str, dict[str, Layers]] = {}
    for arm, runs in folders.items():
        for seed, folder in runs.items():
            known = (recorded or {}).get(arm, {})
            layers = known[seed] if seed in known else layers_of(folder)
            if layers is not None:
                found.setdefault(arm, {})[str(seed)] = layers
    return found


def layers_of(folder: Path) -> Layers | None:
    """Return the shown metrics at every layer of a run, ``None`` where they were not measured.

    Args:
        folder: The run's work_dir.
    """
    path = folder / LAYERS
    if not path.is_file():
        return None
    layers = json.loads(path.read_text(encoding='utf-8'))['layers']
    return {name: [layer[name] for layer in layers] for name in SHOWN}


def layers_table(values: Mapping[str, Any], arms: Iterable[str], name: str) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows with mean and sample standard deviation of a metric at every layer.

    Args:
        values: Arm to seed to metrics, of :func:`read_layers`.
        arms: The rows.
        name: The metric, one of ``SHOWN``.
    """
    rows = []
    for arm in arms:
        columns: Sequence[Sequence[float]] = list(zip(*(seed[name] for seed in values[arm].values())))
        cells = [spread({'points': [name]}, name, vars(summarize(column))) for column in columns]
        rows.append([arm, *cells, str(len(values[arm]))])
    count = max((len(row) - 2 for row in rows), default=0)
    rows = [[*row[:-1], *[''] * (count - len(row) + 2), row[-1]] for row in rows]
    return ['arm', *[f'layer {index + 1}' for index in range(count)], 'seeds'], rows
