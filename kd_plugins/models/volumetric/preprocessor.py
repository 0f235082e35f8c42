"""Data preprocessor of volumes: stacking them into a batch on the device of the model."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ...errors import ConfigError
from ...registry import MODELS


def flatten_crops(entries: Any) -> list[Any]:
    """Return the crops of a data set with several crops per volume as a flat list, volume after volume.

    MMEngine's ``pseudo_collate`` gives one list per crop, with one entry per volume.

    >>> flatten_crops([['a0', 'b0'], ['a1', 'b1']])
    ['a0', 'a1', 'b0', 'b1']
    >>> flatten_crops(['a', 'b'])
    ['a', 'b']
    """
    listed = list(entries)
    if listed and isinstance(listed[0], (list, tuple)):
        return [crop for volume in zip(*listed) for crop in volume]
    return listed


def _name(samples: list[Any], index: int) -> str:
    path = getattr(samples[index], 'img_path', None) if index < len(samples) else None
    return f"'{path}'" if path else f'volume {index}'


@MODELS.register_module()
class VolumePreprocessor(BaseDataPreprocessor):
    """Stack volumes or patches into one batch on the model's device.

    Intensities are normalised in the data pipeline, volume by volume, and not here. In training, all patches of a batch
    must have one shape. For prediction, volumes of different shapes remain a list.

    Args:
        non_blocking: Whether the copy to the device may overlap with computing.
    """

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return ``inputs``, float32 of shape (N, C, ...), and the list ``data_samples``.

        Args:
            data: ``inputs`` and ``data_samples`` from ``pseudo_collate``; each may be one list per crop.
            training: Whether the batch is for training.

        Raises:
            ConfigError: If the shapes differ in training.
        """
        data = self.cast_data(data)
        inputs: list[Tensor] = [entry.float() for entry in flatten_crops(data['inputs'])]
        samples = flatten_crops(data.get('data_samples') or [])
        odd = next((index for index, entry in enumerate(inputs) if entry.shape != inputs[0].shape), None)
        if odd is None:
            return {'inputs': torch.stack(inputs), 'data_samples': samples or None}
        if training:
            raise ConfigError(
                f'train_dataloader: {_name(samples, odd)} has shape {tuple(inputs[odd].shape)} where '
                f'{_name(samples, 0)} has {tuple(inputs[0].shape)}; crop both to one size in the pipeline '
                '(SpatialPadd, then RandCropByPosNegLabeld), or train with batch_size=1'
            )
        return {'inputs': inputs, 'data_samples': samples or None}


__all__ = ['VolumePreprocessor']
