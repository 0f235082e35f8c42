"""Dice and 95 % Hausdorff distance of volumes, computed by MONAI."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ..errors import ConfigError
from ..registry import METRICS
from ..utils.files import write_atomically
from .grid import resample_labels, save_labels


def volume_scores(
    prediction: Tensor, labels: Tensor, num_classes: int, spacing: Sequence[float], ignore_empty: bool = True
) -> dict[str, list[float]]:
    """Return Dice and Hausdorff distance of each structure of one volume, without the background (class 0).

    .. math::
        \\mathrm{Dice}_c = \\frac{2\\,|P_c \\cap G_c|}{|P_c| + |G_c|}, \\qquad
        \\mathrm{HD95}_c = \\max\\big(q_{95}\\{d(p, \\partial G_c)\\}_{p \\in \\partial P_c},\\;
        q_{95}\\{d(g, \\partial P_c)\\}_{g \\in \\partial G_c}\\big)

    Args:
        prediction: Class indices of shape (1, ...).
        labels: Class indices of shape (1, ...), on the same grid.
        num_classes: Number of classes C, including the background.
        spacing: Voxel size along each axis in millimetres.
        ignore_empty: Whether the Dice of a structure that is absent from the labels is NaN. Otherwise it is 1 if the
            structure is absent from the prediction as well, else 0.

    Returns:
        C - 1 numbers each of ``dice``; of ``hd95`` in mm, NaN if the structure is absent from labels or prediction and
        therefore has no surface there; and of ``one_sided``, 1 if it is absent from exactly one of the two.

    >>> import torch
    >>> labels = torch.zeros(1, 8, 8, 8, dtype=torch.long)
    >>> labels[0, 2:6, 2:6, 2:6] = 1
    >>> volume_scores(labels.roll(1, 1), labels, 3, spacing=(2.0, 1.0, 1.0))
    {'dice': [0.75, nan], 'hd95': [2.0, nan], 'one_sided': [0.0, 0.0]}
    """
    from monai.metrics import compute_dice, compute_hausdorff_distance
    from monai.networks import one_hot

    predicted, true = one_hot(prediction[None].cpu(), num_classes), one_hot(labels[None].cpu(), num_classes)
    dice = compute_dice(predicted, true, include_background=False, ignore_empty=ignore_empty)[0]
    with warnings.catch_warnings():
        # MONAI warns about absent structures, and about an argument of a function that it calls itself.
        warnings.simplefilter('ignore')
        distance = compute_hausdorff_distance(predicted, true, percentile=95, spacing=tuple(spacing))[0]
    in_prediction, in_labels = (masks[0, 1:].flatten(1).any(1) for masks in (predicted, true))
    return {
        'dice': dice.tolist(),
        'hd95': [value if math.isfinite(value) else math.nan for value in distance.tolist()],
        'one_sided': (in_prediction != in_labels).double().tolist(),
    }


@METRICS.register_module()
class VolumetricMetric(BaseMetric):
    """Dice and 95 % Hausdorff distance per structure, and the predictions as NIfTI files.

    A prediction is compared on the grid of its labels. If the pipeline changes only the grid of the image
    (``keys=['image']``), this is the grid of the file. For each structure, ``volume/dice_NAME`` and
    ``volume/hd95_NAME`` (mm) are means over the volumes in which the number is defined, and ``volume/dice`` and
    ``volume/hd95`` are the means over structures. ``volume/hd95_undefined`` is the number of pairs of volume and
    structure in which the structure is absent from either labels or prediction; they are not part of any distance.

    Args:
        output_dir: Folder for the predictions, each on the grid of its image and under the image's file name, and for
            ``scores.json`` with the numbers of every volume, ``scores_PART.json`` with ``part``. None writes nothing.
        format_only: Whether to write without comparing, for volumes that have no labels.
        ignore_empty: See :func:`volume_scores`.
        part: Part of the data set whose volumes count, where the loader joins several parts; None counts all. With the
            training volumes joined to those of the test, two metrics of different ``prefix`` measure the overfitting.
        collect_device: See MMEngine's ``BaseMetric``.
        prefix: See MMEngine's ``BaseMetric``.

    Raises:
        ConfigError: If there are no labels to compare with, no volume of the part, or ``format_only`` has no
            ``output_dir``.
    """

    default_prefix = 'volume'

    def __init__(
        self,
        output_dir: str | None = None,
        format_only: bool = False,
        ignore_empty: bool = True,
        part: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if format_only and output_dir is None:
            raise ConfigError('test_evaluator.format_only is True, so output_dir must name the folder to write to')
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.format_only = format_only
        self.ignore_empty = ignore_empty
        self.part = part
        self._written: dict[str, Path] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Write and compare the volumes of one batch.

        Args:
            data_batch: Unused.
            data_samples: Data samples as dicts, with ``pred_sem_seg``.
        """
        for sample in data_samples:
            if self.part not in (None, sample.get('part')):
                # Counted by another metric; kept, since MMEngine drops the repeated last samples of ranks by number.
                self.results.append({})
                continue
            prediction = sample['pred_sem_seg']['data'].cpu()
            affine = sample.get('affine', np.eye(4))
            if self.output_dir is not None:
                self._write(self.output_dir, sample, prediction, affine)
            scores: dict[str, Any] = {'volume': sample.get('img_path')}
            if not self.format_only:
                scores.update(self._compare(sample, prediction, affine))
            self.results.append(scores)

    def _write(self, folder: Path, sample: dict[str, Any], prediction: Tensor, affine: Any) -> None:
        path = Path(sample['img_path'])
        if self._written.setdefault(path.name, path) != path:
            raise ConfigError(
                f"test_evaluator.output_dir: '{path}' and '{self._written[path.name]}' would be written to one file; "
                'evaluate their folders one after the other'
            )
        volume = resample_labels(prediction, affine, sample['ori_affine'], sample['ori_shape'])
        save_labels(folder / path.name, volume, sample['ori_affine'], like=str(path))

    def _write_scores(self, results: list[dict[str, Any]]) -> None:
        def plain(value: Any) -> Any:  # JSON knows no NaN
            return [None if math.isnan(number) else number for number in value] if isinstance(value, list) else value

        volumes = [{name: plain(value) for name, value in entry.items()} for entry in results]
        assert self.output_dir is not None
        text = json.dumps({'structures': list(self.classes[1:]), 'volumes': volumes}, indent=1)
        name = 'scores.json' if self.part is None else f'scores_{self.part}.json'
        write_atomically(self.output_dir / name, f'{text}\n'.encode())

    def _compare(self, sample: dict[str, Any], prediction: Tensor, affine: Any) -> dict[str, list[float]]:
        if 'gt_sem_seg' not in sample:
            raise ConfigError(
                f"test_evaluator: '{sample.get('img_path')}' has no labels to compare with; "
                'give dataset.data_prefix.seg, or set format_only=True and output_dir'
            )
        labels = sample['gt_sem_seg']['data'].cpu()
        grid = sample['gt_sem_seg'].get('affine', affine)
        spacing = np.linalg.norm(np.asarray(grid)[:3, :3], axis=0)[: labels.ndim - 1]
        prediction = resample_labels(prediction, affine, grid, labels.shape[1:])
        return volume_scores(prediction, labels, len(self.classes), spacing.tolist(), self.ignore_empty)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the data set, the background first."""
        classes = (self.dataset_meta or {}).get('classes')
        if not classes:
            raise ConfigError("test_dataloader.dataset.metainfo has no 'classes'; name every class, background first")
        return tuple(classes)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the means over all volumes of all ranks."""
        results = [entry for entry in results if entry]
        if not results:
            raise ConfigError(f"test_evaluator.part is '{self.part}', and no volume of test_dataloader has this part")
        if self.output_dir is not None:
            self._write_scores(results)
        if self.format_only:
            return {}
        metrics: dict[str, float] = {}
        for name in ('dice', 'hd95'):
            table = np.array([entry[name] for entry in results], dtype=np.float64).reshape(len(results), -1)
            means = [mean_of(column) for column in table.T]
            metrics[name] = mean_of(np.array(means))
            metrics.update({f'{name}_{label}': value for label, value in zip(self.classes[1:], means)})
        metrics['hd95_undefined'] = float(sum(sum(entry['one_sided']) for entry in results))
        return metrics


def mean_of(values: np.ndarray[Any, Any]) -> float:
    """Return the mean of the values that are not NaN, or NaN if there is none.

    >>> mean_of(np.array([1.0, np.nan, 3.0]))
    2.0
    """
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


__all__ = ['VolumetricMetric', 'volume_scores']
