"""Calibration of the arms of a comparison, which the tests of the last checkpoints measure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..evaluation.calibration import ERROR, read_bins
from ..evaluation.reliability import draw_reliability
from .folder import metrics_of_test
from .records import Recorded, Records

PICTURE = 'reliability.png'


def lacks_test(folder: Path, calibration: bool) -> bool:
    """Return whether a run has still to be tested.

    Args:
        folder: Folder of the run.
        calibration: Whether its test must have measured the calibration.
    """
    metrics = metrics_of_test(folder)
    return not metrics or (calibration and ERROR not in metrics)


def write_reliability(folders: Mapping[str, Mapping[int, Path]], path: Path, taken: Records | None = None) -> bool:
    """Draw the reliability of each arm, over the predictions of all its seeds.

    Args:
        folders: Arm to seed to the folder of the run.
        path: The picture.
        taken: Runs that come from the committed record.

    Returns:
        Whether there was something to draw.

    Raises:
        ConfigError: If a file with bins is damaged.
    """
    tables: dict[str, Tensor] = {}
    for arm, runs in folders.items():
        recorded = (taken or {}).get(arm, {})
        found = [_bins(folder, recorded.get(seed)) for seed, folder in runs.items()]
        read = [table for table in found if table is not None]
        if read:
            tables[arm] = sum(read[1:], read[0])
    if tables:
        draw_reliability(tables, path)
    return bool(tables)


def _bins(folder: Path, recorded: Recorded | None) -> Tensor | None:
    if recorded is None:
        return read_bins(folder / 'test')
    bins = recorded.record.bins
    return None if bins is None else torch.tensor(bins, dtype=torch.float64)
