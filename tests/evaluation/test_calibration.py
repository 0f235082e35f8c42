"""Expected calibration error against a computation by hand, its files, and several ranks' bins."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.calibration import CalibrationMetric, calibration_error, confidence_bins, read_bins


class Pairs(CalibrationMetric):
    """Takes confidences and hits as they are given."""

    def predictions(self, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return torch.tensor(sample['confidence']), torch.tensor(sample['right'])


def test_the_error_of_three_bins_by_hand() -> None:
    confidence = torch.tensor([0.1, 0.3, 0.4, 0.5, 0.8, 0.9, 1.0])
    right = torch.tensor([0, 1, 0, 1, 1, 1, 0]).bool()
    # [0, 1/3): .1 .3, one right; [1/3, 2/3): .4 .5, one right; [2/3, 1]: .8 .9 1, two right.
    expected = 2 / 7 * abs(0.5 - 0.2) + 2 / 7 * abs(0.5 - 0.45) + 3 / 7 * abs(2 / 3 - 0.9)
    table = confidence_bins(confidence, right, 3)
    assert table[:, 0].tolist() == [2, 2, 3]
    assert calibration_error(table) == pytest.approx(expected, abs=1e-7)
    halves = confidence_bins(confidence[:3], right[:3], 3) + confidence_bins(confidence[3:], right[3:], 3)
    torch.testing.assert_close(halves, table)


def test_the_error_of_random_predictions_by_its_definition() -> None:
    generator = np.random.default_rng(0)
    confidence, right = generator.random(5000), generator.random(5000) < 0.6
    expected, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in pairwise(edges):
        members = (confidence >= low) & (confidence < high)
        expected += members.mean() * abs(right[members].mean() - confidence[members].mean())
    table = confidence_bins(torch.from_numpy(confidence), torch.from_numpy(right), 15)
    assert calibration_error(table) == pytest.approx(expected, abs=1e-9)


def test_nothing_has_no_error() -> None:
    table = confidence_bins(torch.zeros(0), torch.zeros(0), 4)
    assert table.shape == (4, 3) and math.isnan(calibration_error(table))


def test_the_metric_and_its_files(tmp_path: Path) -> None:
    metric = Pairs(bins=2, out_dir=str(tmp_path / 'test'))
    metric.process(None, [{'confidence': [0.25, 0.75], 'right': [False, True]}, {'confidence': [], 'right': []}])
    metric.process(None, [{'confidence': [0.75], 'right': [False]}])
    metrics = metric.evaluate(3)
    assert metrics == pytest.approx(
        {
            'calibration/error': (0.25 + 0.5) / 3,
            'calibration/confidence': 1.75 / 3,
            'calibration/right': 1 / 3,
        }
    )
    table = read_bins(tmp_path / 'test')
    assert table is not None and table.tolist() == [[1.0, 0.25, 0.0], [2.0, 1.5, 1.0]]
    assert (tmp_path / 'test' / 'reliability.png').stat().st_size > 1000
    assert read_bins(tmp_path) is None
    (tmp_path / 'test' / 'calibration.json').write_text(json.dumps({'other': 1}))
    with pytest.raises(ConfigError, match='is damaged'):
        read_bins(tmp_path / 'test')


def test_a_metric_without_bins_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'test_evaluator\.bins is 0'):
        Pairs(bins=0)
