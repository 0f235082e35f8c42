"""Generated data for volumetric segmentation: noise volumes with one bright ball per structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement

from ..config.loading import class_name
from ..errors import ConfigError
from ..registry import DATASETS
from ..structures import VolumeDataSample
from .items import RepeatedItems, class_names


@DATASETS.register_module()
class GeneratedVolumes(RepeatedItems):
    """Noise volumes with one bright ball per structure.

    Args:
        classes: Class names, the background first.
        size: Shape of the volumes in voxels.
        channels: Number of channels.
        num_items: Number of different volumes.
        length: Number of items of the data set.
    """

    def __init__(
        self,
        classes: Sequence[str],
        size: Sequence[int] = (32, 32, 32),
        channels: int = 1,
        num_items: int = 8,
        length: int = 2000,
    ) -> None:
        items = [self._volume(index, len(classes), tuple(size), channels) for index in range(num_items)]
        super().__init__(items, length, {'classes': tuple(classes)})

    @staticmethod
    def _volume(index: int, num_classes: int, size: tuple[int, ...], channels: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        labels = torch.zeros(1, *size, dtype=torch.long)
        axes = torch.meshgrid(*[torch.arange(side) for side in size], indexing='ij')
        radius = max(min(size) // 4, 1)
        for structure in range(1, num_classes):
            centre = [int(torch.randint(side, (1,), generator=generator)) for side in size]
            distance = torch.stack([(axis - middle) ** 2 for axis, middle in zip(axes, centre)]).sum(0)
            labels[0, distance <= radius**2] = structure
        image = torch.randn(channels, *size, generator=generator) + labels
        sample = VolumeDataSample(metainfo=dict(img_path=f'generated_{index}.nii.gz', affine=np.eye(4)))
        sample.gt_sem_seg = BaseDataElement(metainfo=dict(affine=np.eye(4)), data=labels)
        return {'inputs': image, 'data_samples': sample}


def patch_size(config: Config) -> tuple[int, ...]:
    """Return the shape of a patch that suits the model, in voxels.

    It is the ``roi_size`` of the inferer, or else the ``img_size`` of the network, or else 32 voxels per axis.

    >>> patch_size(Config(dict(model=dict(network=dict(spatial_dims=2), inferer=dict(roi_size=64)))))
    (64, 64)
    """
    network, inferer = config.model.network, config.model.get('inferer') or {}
    size = inferer.get('roi_size') or network.get('img_size') or 32
    return (size,) * network.get('spatial_dims', 3) if isinstance(size, int) else tuple(size)


def generated_dataset(config: Config) -> dict[str, Any]:
    """Return the config of a data set that suits a volumetric segmentor.

    Args:
        config: The segmentor's whole config.

    Raises:
        ConfigError: If the model is not a ``VolumetricSegmentor``.
    """
    if class_name(config.model) != 'VolumetricSegmentor':
        raise ConfigError(
            f"generated data: model.type is '{config.model.get('type')}', for which no data is generated; nearest: "
            "'kd_plugins.VolumetricSegmentor', or a model of MMDetection with its default_scope"
        )
    network = config.model.network
    return dict(
        type='kd_plugins.GeneratedVolumes',
        classes=class_names(config, network.get('out_channels', 2)),
        size=patch_size(config),
        channels=network.get('in_channels', 1),
    )
