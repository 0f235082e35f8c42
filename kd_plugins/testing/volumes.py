"""Volumetric segmentation: noise volumes with one bright ball per structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement
from torch.utils.data import Dataset

from ..config.data_checks import dataset_classes
from ..errors import ConfigError
from ..registry import DATASETS
from ..structures import VolumeDataSample


@DATASETS.register_module()
class GeneratedVolumes(Dataset):
    """The same few volumes, as often as ``length`` asks.

    Args:
        classes: Class names, as the real data would have them, the background first.
        size: Shape of the volumes.
        channels: Number of channels.
        volumes: Number of different volumes.
        length: Number of items; schedules by epoch and warm-ups need a data set of ordinary length.
    """

    def __init__(
        self,
        classes: Sequence[str],
        size: Sequence[int] = (32, 32, 32),
        channels: int = 1,
        volumes: int = 8,
        length: int = 2000,
    ) -> None:
        self.metainfo = {'classes': tuple(classes)}
        self.length = length
        self.items = [self._volume(index, tuple(size), channels) for index in range(volumes)]

    def _volume(self, index: int, size: tuple[int, ...], channels: int) -> tuple[torch.Tensor, VolumeDataSample]:
        generator = torch.Generator().manual_seed(index)
        labels = torch.zeros(1, *size, dtype=torch.long)
        axes = torch.meshgrid(*[torch.arange(side) for side in size], indexing='ij')
        radius = max(min(size) // 4, 1)
        for structure in range(1, len(self.metainfo['classes'])):
            centre = [int(torch.randint(side, (1,), generator=generator)) for side in size]
            distance = torch.stack([(axis - middle) ** 2 for axis, middle in zip(axes, centre)]).sum(0)
            labels[0, distance <= radius**2] = structure
        image = torch.randn(channels, *size, generator=generator) + labels
        sample = VolumeDataSample(metainfo=dict(img_path=f'generated_{index}.nii.gz', affine=np.eye(4)))
        sample.gt_sem_seg = BaseDataElement(metainfo=dict(affine=np.eye(4)), data=labels)
        return image, sample

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, sample = self.items[index % len(self.items)]
        return {'inputs': image.clone(), 'data_samples': sample.clone()}


def patch_size(config: Config) -> tuple[int, ...]:
    """Return the shape of a patch that suits the model: the inferer's, the network's ``img_size``, else 32 voxels.

    >>> patch_size(Config(dict(model=dict(network=dict(spatial_dims=2), inferer=dict(roi_size=64)))))
    (64, 64)
    """
    network, inferer = config.model.network, config.model.get('inferer') or {}
    size = inferer.get('roi_size') or network.get('img_size') or 32
    return (size,) * network.get('spatial_dims', 3) if isinstance(size, int) else tuple(size)


def generated_dataset(config: Config, batch_size: int) -> dict[str, Any]:
    """Return the config of a data set that suits a volumetric segmentor.

    Args:
        config: The segmentor's whole config.
        batch_size: Volumes per batch.

    Raises:
        ConfigError: If the model is another one.
    """
    if config.model.get('type') != 'kd_plugins.VolumetricSegmentor':
        raise ConfigError(
            f"--generated: model.type is '{config.model.get('type')}', for which no data is generated; nearest: "
            "'kd_plugins.VolumetricSegmentor', or a model of MMDetection with its default_scope"
        )
    network = config.model.network
    count = network.get('out_channels', 2)
    return dict(
        type='kd_plugins.GeneratedVolumes',
        classes=dataset_classes(config) or tuple(f'class_{index}' for index in range(count)),
        size=patch_size(config),
        channels=network.get('in_channels', 1),
        volumes=4 * batch_size,
        length=1000 * batch_size,
    )
