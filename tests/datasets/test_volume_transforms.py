"""Volumetric pipeline compared with MONAI's, and error sentences about transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('nibabel')
pytest.importorskip('monai')

from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, TRANSFORMS

from kd_plugins.errors import ConfigError
from kd_plugins.models.volumetric import VolumePreprocessor
from tests.volumes import BOTH, FLIPPED, LOAD, PACK, PERMUTED, dataset_config, make_pair, monai_step, write_nifti

CROP = {
    'type': 'RandCropByPosNegLabeld',
    'keys': BOTH,
    'label_key': 'label',
    'spatial_size': (8, 8, 8),
    'pos': 1,
    'neg': 1,
    'num_samples': 3,
}
FIXED = [
    {'type': 'Orientationd', 'keys': BOTH, 'axcodes': 'RAS', 'labels': None},
    {'type': 'Spacingd', 'keys': BOTH, 'pixdim': (1.0, 1.0, 2.0), 'mode': ('bilinear', 'nearest')},
    {'type': 'NormalizeIntensityd', 'keys': 'image', 'nonzero': True, 'channel_wise': True},
]
RANDOM = [
    CROP,
    {'type': 'RandFlipd', 'keys': BOTH, 'prob': 0.5, 'spatial_axis': 0},
    {'type': 'RandShiftIntensityd', 'keys': 'image', 'offsets': 0.1, 'prob': 0.5},
]


def step(*transforms: dict[str, Any]) -> Any:
    return TRANSFORMS.build(monai_step(*transforms))


def load(image: Path, label: Path) -> dict[str, Any]:
    info = {'img_path': str(image), 'seg_path': str(label), 'classes': ('background', 'front', 'back')}
    return TRANSFORMS.build(LOAD)(info)


def plain_compose() -> Any:
    """The same transforms as in MONAI's tutorials."""
    from monai import transforms

    listed = [transforms.LoadImaged(keys=BOTH), transforms.EnsureChannelFirstd(keys=BOTH)]
    for config in [*FIXED, *RANDOM]:
        arguments = {key: value for key, value in config.items() if key != 'type'}
        listed.append(getattr(transforms, str(config['type']))(**arguments))
    return transforms.Compose(listed)


@pytest.mark.parametrize('affine', [np.eye(4), FLIPPED, PERMUTED], ids=['identity', 'flipped', 'permuted'])
def test_equals_monais_own_data_set(tmp_path: Path, affine: Any) -> None:
    from monai.data import Dataset, list_data_collate

    pairs = [make_pair(tmp_path, name, (20, 22, 18), affine) for name in ('a.nii.gz', 'b.nii.gz')]
    dataset = DATASETS.build(dataset_config(tmp_path, [LOAD, monai_step(*FIXED), monai_step(*RANDOM), PACK]))
    items, plain_items = [], []
    for index, (image, label) in enumerate(pairs):
        np.random.seed(index)
        items.append(dataset[index])
        np.random.seed(index)
        plain = Dataset([{'image': str(image), 'label': str(label)}], plain_compose())
        # The seed that our step drew; Compose hands it on to the random transforms in their order.
        plain.transform.set_random_state(seed=int(np.random.randint(2**31)))
        plain_items.append(plain[0])
    expected = list_data_collate(plain_items)
    batch = VolumePreprocessor()(pseudo_collate(items), training=True)
    assert torch.equal(batch['inputs'], expected['image'].as_tensor())
    labels = torch.stack([sample.gt_sem_seg.data for sample in batch['data_samples']])
    assert torch.equal(labels, expected['label'].as_tensor().long())
    affines = [crop['image'].affine.numpy() for crops in plain_items for crop in crops]
    assert np.allclose([sample.affine for sample in batch['data_samples']], affines)


def test_the_affine_of_a_crop_says_where_it_lies(tmp_path: Path) -> None:
    # Each voxel holds its own place in the world, so that a wrong affine shows.
    shape = (14, 12, 10)
    index = np.stack(np.meshgrid(*[np.arange(side) for side in shape], indexing='ij'), -1)
    world = index @ FLIPPED[:3, :3].T + FLIPPED[:3, 3]
    image = write_nifti(tmp_path / 'images' / 'a.nii.gz', world.astype(np.float32), FLIPPED)
    label = write_nifti(tmp_path / 'labels' / 'a.nii.gz', np.ones(shape, np.uint8), FLIPPED)
    for crop in step(FIXED[0], CROP, RANDOM[1])(load(image, label)):
        item = TRANSFORMS.build(PACK)(crop)
        place = np.array([2, 5, 7, 1])
        assert np.allclose(item['inputs'][:, 2, 5, 7], (item['data_samples'].affine @ place)[:3], atol=1e-3)


def test_random_numbers_come_from_numpys_generator(tmp_path: Path) -> None:
    data = load(*make_pair(tmp_path, 'a.nii.gz'))
    noise = step({'type': 'RandGaussianNoised', 'keys': 'image', 'prob': 1.0})
    assert not noise.deterministic and step(*FIXED).deterministic

    def draw(seed: int | None) -> torch.Tensor:
        if seed is not None:
            np.random.seed(seed)
        return noise(dict(data))['image'].as_tensor()

    first = draw(0)
    assert not torch.equal(draw(None), first)
    assert torch.equal(draw(0), first) and not torch.equal(draw(1), first)


def test_wrong_transforms_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="transforms.1.type: monai.transforms has no 'RandFlpd'; nearest: 'RandFlipd"):
        step(FIXED[0], {'type': 'RandFlpd', 'keys': BOTH})
    with pytest.raises(ConfigError, match=r"transforms.0: RandFlipd has no argument 'probability'; nearest: 'prob'"):
        step({'type': 'RandFlipd', 'keys': BOTH, 'probability': 0.5})
    with pytest.raises(ConfigError, match=r'transforms.0: RandFlipd missing .*keys'):
        step({'type': 'RandFlipd'})
    with pytest.raises(ConfigError, match=r"transforms.0 is 'RandFlipd'; give a dict with 'type'"):
        step('RandFlipd')  # type: ignore[arg-type]
    image, label = make_pair(tmp_path, 'a.nii.gz')
    with pytest.raises(ConfigError, match=r"MONAI's RandFlipd failed on '.*a.nii.gz': .*imge") as caught:
        step({'type': 'RandFlipd', 'keys': 'imge', 'prob': 1.0})(load(image, label))
    assert '\n' not in str(caught.value)
    with pytest.raises(ConfigError, match=r"MONAI's RandCropByPosNegLabeld failed on '.*a.nii.gz'"):
        step({**CROP, 'spatial_size': (40, 8, 8)})(load(image, label))


def test_interpolated_labels_are_refused(tmp_path: Path) -> None:
    data = load(*make_pair(tmp_path, 'a.nii.gz'))
    spacing = step({'type': 'Spacingd', 'keys': BOTH, 'pixdim': 0.7})
    with pytest.raises(ConfigError, match=r"interpolated the labels of '.*a.nii.gz'; give it mode="):
        TRANSFORMS.build(PACK)(spacing(data))
