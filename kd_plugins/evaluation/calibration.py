"""Calibration: whether predictions with a confidence of p are right in a share p of the cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ..errors import ConfigError
from ..utils.checks import check_integer
from ..utils.files import write_atomically

FILE = 'calibration.json'
"""File with the bins, below the folder of a test."""
PREFIX = 'calibration'
ERROR = f'{PREFIX}/error'
"""Name of the expected calibration error among the metrics of a run."""


def confidence_bins(confidence: Tensor, right: Tensor, bins: int) -> Tensor:
    """Return, for bins of equal width from 0 to 1, how many predictions they hold, and their sums.

    A bin holds its lower edge, and the last one 1 as well.

    Args:
        confidence: Confidence of each prediction, shape (N,), from 0 to 1.
        right: Whether each prediction is right, shape (N,).
        bins: Number of bins M.

    Returns:
        Shape (M, 3) in double precision: number of predictions, sum of their confidences, number of right ones.

    >>> confidence_bins(torch.tensor([0.1, 0.5, 1.0]), torch.tensor([False, True, True]), 2)
    tensor([[1.0000, 0.1000, 0.0000],
            [2.0000, 1.5000, 2.0000]], dtype=torch.float64)
    """
    confidence = confidence.detach().double().flatten().cpu()
    place = (confidence * bins).long().clamp(0, bins - 1)
    columns = torch.stack([torch.ones_like(confidence), confidence, right.double().flatten().cpu()], dim=1)
    return torch.zeros(bins, 3, dtype=torch.float64).index_add_(0, place, columns)


def calibration_error(table: Tensor) -> float:
    r"""Return the expected calibration error (ECE, arXiv 1706.04599, equation 3), NaN without a prediction.

    .. math:: \mathrm{ECE} = \sum_{m=1}^{M} \frac{n_m}{N} \left| \mathrm{acc}_m - \mathrm{conf}_m \right|

    with the number :math:`n_m` of predictions in bin m, the share :math:`\mathrm{acc}_m` of right ones and the mean
    confidence :math:`\mathrm{conf}_m`. Of detections, the share of right ones is the precision, and the sum is the
    detection ECE of Küppers et al. (arXiv 2004.13546) with the confidence as the only dimension.

    Args:
        table: Result of :func:`confidence_bins`, or the sum of several, shape (M, 3).

    >>> round(calibration_error(torch.tensor([[1.0, 0.1, 0.0], [2.0, 1.5, 2.0]])), 4)
    0.2
    """
    total = float(table[:, 0].sum())
    # n / N |acc - conf| is the difference of the sums over N.
    return round(float((table[:, 2] - table[:, 1]).abs().sum()) / total, 10) if total else float('nan')


class CalibrationMetric(BaseMetric):
    """Base of the metrics of calibration: ``calibration/error``, ``calibration/confidence``, ``calibration/right``.

    The error is the expected calibration error, from 0 to 1. The others are the mean confidence and the share of right
    predictions; where the first is larger, the model is overconfident.

    Args:
        bins: Number of bins M of equal width.
        out_dir: Folder in which ``calibration.json``, with the bins, and ``reliability.png`` are written; ``None``
            writes nothing.
        collect_device: See MMEngine's ``BaseMetric``.
        prefix: See MMEngine's ``BaseMetric``.

    Raises:
        ConfigError: If ``bins`` is less than 1.
    """

    default_prefix = PREFIX

    def __init__(
        self, bins: int = 15, out_dir: str | None = None, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.bins = check_integer('test_evaluator.bins', bins, 1, 'valid: 10, 15, 20', 1000)
        self.out_dir = None if out_dir is None else Path(out_dir)

    def predictions(self, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the confidence of each prediction of an image, and whether it is right.

        Args:
            sample: Data sample as a dict.

        Raises:
            ConfigError: If the data sample lacks something.
        """
        raise NotImplementedError

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Sort the predictions of one batch into bins.

        Args:
            data_batch: Unused.
            data_samples: Data samples as dicts.
        """
        self.results += [confidence_bins(*self.predictions(sample), self.bins) for sample in data_samples]

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Return the calibration of all predictions.

        Args:
            results: Bins of each image.
        """
        table = torch.stack(list(results)).sum(0)
        if self.out_dir is not None:
            self._write(table)
        total, confidence, right = table.sum(0).tolist()
        values = {'error': calibration_error(table)}
        if total:
            values.update(confidence=confidence / total, right=right / total)
        return values

    def _write(self, table: Tensor) -> None:
        from .reliability import draw_reliability

        assert self.out_dir is not None
        self.out_dir.mkdir(parents=True, exist_ok=True)
        text = json.dumps({'columns': ['predictions', 'confidence', 'right'], 'bins': table.tolist()})
        write_atomically(self.out_dir / FILE, f'{text}\n'.encode())
        draw_reliability({'test': table}, self.out_dir / 'reliability.png')


def read_bins(folder: str | Path) -> Tensor | None:
    """Return the bins that a test wrote into a folder, shape (M, 3), or ``None``.

    Args:
        folder: Folder of the test.

    Raises:
        ConfigError: If the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        table = torch.tensor(json.loads(path.read_text(encoding='utf-8'))['bins'], dtype=torch.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"'{path}' is damaged ({error}); remove it and test again") from error
    return table


__all__ = ['CalibrationMetric', 'calibration_error', 'confidence_bins', 'read_bins']
