"""Transforms of a volumetric pipeline: reading, MONAI's transforms, and packing for the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement

from ..errors import ConfigError
from ..registry import TRANSFORMS
from ..structures import VolumeDataSample
from ..utils.build import first_line
from ..utils.monai import build_part, monai_class
from .nifti import read_labels, read_volume, spacing_of

META = ('img_path', 'seg_path', 'part', 'ori_shape', 'ori_affine', 'spacing', 'orientation')


@TRANSFORMS.register_module()
class LoadVolume:
    """Read ``img_path`` into ``image`` and ``seg_path``, if there is one, into ``label``.

    Both become float32 ``MetaTensor`` objects of shape (C, X, Y, Z), as from MONAI's ``LoadImaged`` with
    ``ensure_channel_first=True``. Files that cannot be trained on are refused (:mod:`kd_plugins.datasets.nifti`).
    """

    deterministic = True

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``results`` with ``image``, ``label`` and the grid of the file."""
        image = read_volume(results['img_path'])
        from nibabel import aff2axcodes

        volumes = {'image': image}
        if results.get('seg_path'):
            volumes['label'] = read_labels(results['seg_path'], results['img_path'], results['classes'])
        affine = np.asarray(image.affine, dtype=np.float64)
        return {
            **results,
            **volumes,
            'ori_shape': tuple(image.shape[1:]),
            'ori_affine': affine,
            'spacing': spacing_of(affine),
            'orientation': ''.join(aff2axcodes(affine)),
        }


@TRANSFORMS.register_module()
class MonaiTransforms:
    """Apply dictionary transforms of MONAI to ``image`` and ``label``.

    Random transforms are seeded at every call from NumPy's global generator, which MMEngine seeds in each worker and
    ``EpochSeedHook`` in the main process. A run is therefore reproducible from its seed and resumes exactly. With a
    transform that yields several crops (``RandCropByPosNegLabeld`` with ``num_samples``), every item of the data set is
    a list of crops, and a batch of B volumes holds ``B * num_samples`` patches.

    Args:
        transforms: Configs in order, with a class of ``monai.transforms`` as ``type``, for example
            ``dict(type='RandFlipd', keys=['image', 'label'], prob=0.5, spatial_axis=0)``.

    Raises:
        ConfigError: If MONAI has no such class, or a class does not take these arguments.
    """

    def __init__(self, transforms: Sequence[dict[str, Any]]) -> None:
        key = 'pipeline: MonaiTransforms.transforms'
        compose, random = (monai_class('transform', name, key) for name in ('Compose', 'RandomizableTrait'))
        parts = [build_part('transform', config, f'{key}.{index}') for index, config in enumerate(transforms)]
        self.deterministic = not any(isinstance(part, random) for part in parts)
        self._names = [type(part).__name__ for part in parts]
        self.compose: Any = compose(parts)

    def __call__(self, results: dict[str, Any]) -> Any:
        """Return the results, or a list of them, one per crop.

        Raises:
            ConfigError: If a transform fails.
        """
        if not self.deterministic:
            self.compose.set_random_state(seed=int(np.random.randint(2**31)))
        try:
            return self.compose(results)
        except RuntimeError as error:  # MONAI wraps whatever a transform raises
            cause = error.__cause__ or error
            name = next((name for name in self._names if name in str(error)), 'a transform')
            raise ConfigError(
                f"pipeline: MONAI's {name} failed on '{results.get('img_path')}': {first_line(cause)}"
            ) from error


@TRANSFORMS.register_module()
class PackVolume:
    """Convert ``image`` and ``label`` of a volume, or of each crop, to the model's ``inputs`` and ``data_samples``."""

    def __call__(self, results: Any) -> dict[str, Any]:
        """Return ``inputs``, float32 of shape (C, ...), and ``data_samples``; lists of both for several crops.

        Raises:
            ConfigError: If a transform has interpolated the labels.
        """
        if not isinstance(results, list):
            inputs, sample = self._pack(results)
            return {'inputs': inputs, 'data_samples': sample}
        packed = [self._pack(crop) for crop in results]
        return {'inputs': [inputs for inputs, _ in packed], 'data_samples': [sample for _, sample in packed]}

    @staticmethod
    def _pack(results: dict[str, Any]) -> tuple[torch.Tensor, VolumeDataSample]:
        image = results['image']
        sample = VolumeDataSample(metainfo={key: results[key] for key in META if key in results})
        sample.set_metainfo({'affine': np.asarray(image.affine, dtype=np.float64)})
        if 'label' in results:
            label = results['label']
            values = label.as_tensor().round().long()
            if not torch.equal(values.to(label.dtype), label.as_tensor()):
                raise ConfigError(
                    f"pipeline: a transform has interpolated the labels of '{results.get('img_path')}'; give it "
                    "mode=['bilinear', 'nearest'] for keys=['image', 'label']"
                )
            meta = {'affine': np.asarray(label.affine, dtype=np.float64)}
            sample.gt_sem_seg = BaseDataElement(metainfo=meta, data=values.contiguous())
        return image.as_tensor().float().contiguous(), sample


__all__ = ['LoadVolume', 'MonaiTransforms', 'PackVolume']
