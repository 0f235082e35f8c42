"""Batches of volumes: crops in order, one tensor or a list, and shapes that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip('monai')

from kd_plugins.errors import ConfigError
from kd_plugins.models.volumetric import VolumePreprocessor
from kd_plugins.structures import VolumeDataSample


def batch(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    samples = [VolumeDataSample(metainfo=dict(img_path=f'{index}.nii.gz')) for index in range(len(shapes))]
    return {'inputs': [torch.ones(shape, dtype=dtype) for shape in shapes], 'data_samples': samples}


def test_equal_shapes_become_one_tensor_of_float32() -> None:
    data = VolumePreprocessor()(batch((1, 2, 3, 4), (1, 2, 3, 4), dtype=torch.float16), training=True)
    assert data['inputs'].shape == (2, 1, 2, 3, 4) and data['inputs'].dtype == torch.float32
    assert [sample.img_path for sample in data['data_samples']] == ['0.nii.gz', '1.nii.gz']


def test_other_shapes_stay_a_list_for_prediction_alone() -> None:
    data = batch((1, 2, 3, 4), (1, 2, 3, 5))
    assert [tuple(x.shape) for x in VolumePreprocessor()(data)['inputs']] == [(1, 2, 3, 4), (1, 2, 3, 5)]
    with pytest.raises(ConfigError, match=r"'1.nii.gz' has shape \(1, 2, 3, 5\) where '0.nii.gz' has \(1, 2, 3, 4\)"):
        VolumePreprocessor()(data, training=True)


def test_volumes_without_samples() -> None:
    assert VolumePreprocessor()({'inputs': batch((1, 2, 2, 2))['inputs']})['data_samples'] is None


def test_crops_are_put_in_the_order_of_their_volumes() -> None:
    crops = [torch.full((1, 2, 2, 2), float(value)) for value in range(4)]
    samples = [VolumeDataSample(metainfo=dict(img_path=str(value))) for value in range(4)]
    # Two volumes with two crops each, as pseudo_collate transposes them.
    data = {'inputs': [[crops[0], crops[2]], [crops[1], crops[3]]], 'data_samples': [samples[::2], samples[1::2]]}
    actual = VolumePreprocessor()(data, training=True)
    assert actual['inputs'][:, 0, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert [sample.img_path for sample in actual['data_samples']] == ['0', '1', '2', '3']
