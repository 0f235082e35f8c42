"""Labels on other grids and in NIfTI files, against index arithmetic of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('nibabel')
pytest.importorskip('monai')

import nibabel
from mmengine.registry import DATASETS
from mmengine.structures import BaseDataElement

from kd_plugins.evaluation import VolumetricMetric, resample_labels, save_labels
from tests.volumes import CLASSES, FLIPPED, LOAD, OBLIQUE, PACK, PERMUTED, dataset_config, make_pair, monai_step

SHAPE = (9, 12, 7)
AFFINES = {'straight': np.eye(4), 'flipped': FLIPPED, 'permuted': PERMUTED, 'oblique': OBLIQUE}
# From the voxels of the new grid to those of the old one.
MOVES: dict[str, tuple[list[list[float]], tuple[int, ...]]] = {
    'same': ([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], (9, 12, 7)),
    'flip': ([[-1, 0, 0, 8], [0, 1, 0, 0], [0, 0, -1, 6]], (9, 12, 7)),
    'permute': ([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]], (7, 9, 12)),
    'crop': ([[1, 0, 0, 2], [0, 1, 0, 3], [0, 0, 1, 1]], (5, 6, 4)),
    'pad': ([[1, 0, 0, -2], [0, 1, 0, -3], [0, 0, 1, -1]], (14, 18, 10)),
    'coarser': ([[1.7, 0, 0, 0.3], [0, 1.83, 0, -0.2], [0, 0, 2.3, 0.1]], (5, 6, 3)),
    'finer': ([[0.53, 0, 0, 0.1], [0, 0.47, 0, 0], [0, 0, 0.61, -0.2]], (15, 24, 11)),
}


def nearest_labels(labels: Any, move: Any, shape: tuple[int, ...]) -> Any:
    index = np.stack(np.meshgrid(*[np.arange(side) for side in shape], indexing='ij'), -1).reshape(-1, 3)
    actual = np.floor(index @ move[:3, :3].T + move[:3, 3] + 0.5).astype(int)
    inside = ((actual >= 0) & (actual < labels.shape)).all(1)
    values = np.zeros(len(index), np.int64)
    values[inside] = labels[tuple(actual[inside].T)]
    return values.reshape(shape)


@pytest.mark.parametrize('affine', AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize('name', list(MOVES))
def test_each_voxel_takes_the_nearest_label(name: str, affine: Any) -> None:
    rows, shape = MOVES[name]
    move = np.array([*rows, [0, 0, 0, 1]], dtype=np.float64)
    labels = np.random.default_rng(0).integers(0, 3, SHAPE)
    actual = resample_labels(torch.from_numpy(labels)[None], affine, affine @ move, shape)
    assert actual.dtype == torch.int64 and actual.shape == (1, *shape)
    assert np.array_equal(actual[0].numpy(), nearest_labels(labels, move, shape))


@pytest.mark.parametrize('affine', AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize('suffix', ['.nii', '.nii.gz'])
def test_written_labels_are_read_back(tmp_path: Path, affine: Any, suffix: str) -> None:
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (1, *SHAPE)))
    path = tmp_path / 'out' / f'a{suffix}'
    save_labels(path, labels, affine)
    actual = nibabel.load(path)
    assert np.array_equal(np.asarray(actual.dataobj), labels[0].numpy()) and actual.get_data_dtype() == np.uint8
    assert np.allclose(actual.affine, affine, atol=1e-5)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_header_says_of_space_what_the_image_said(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.float32), None)
    image.set_qform(OBLIQUE, 4)
    image.set_sform(OBLIQUE, 0)
    image.header.set_xyzt_units('micron', 'msec')
    nibabel.save(image, tmp_path / 'image.nii.gz')
    affine = nibabel.load(tmp_path / 'image.nii.gz').affine
    save_labels(tmp_path / 'out.nii.gz', torch.zeros(1, *SHAPE), affine, like=str(tmp_path / 'image.nii.gz'))
    actual = nibabel.load(tmp_path / 'out.nii.gz')
    assert np.allclose(actual.affine, OBLIQUE, atol=1e-5)
    assert (int(actual.header['sform_code']), int(actual.header['qform_code'])) == (0, 4)
    assert actual.header.get_xyzt_units() == ('micron', 'msec')


@pytest.mark.parametrize('affine', [FLIPPED, PERMUTED], ids=['flipped', 'permuted'])
@pytest.mark.parametrize('spacing', [False, True], ids=['reoriented', 'resampled'])
def test_a_right_prediction_on_the_networks_grid_is_written_on_the_images(
    tmp_path: Path, affine: Any, spacing: bool
) -> None:
    """What the network gets is reoriented, cropped and perhaps resampled; the file on disk is not."""
    make_pair(tmp_path, 'a.nii.gz', (20, 18, 16), affine)
    transforms: list[dict[str, Any]] = [{'type': 'Orientationd', 'keys': 'image', 'axcodes': 'RAS', 'labels': None}]
    if spacing:
        transforms.append({'type': 'Spacingd', 'keys': 'image', 'pixdim': (0.4, 0.4, 0.4)})
    transforms.append({'type': 'BorderPadd', 'keys': 'image', 'spatial_border': (3, 2, 1)})
    dataset = DATASETS.build(dataset_config(tmp_path, [LOAD, monai_step(*transforms), PACK]))
    item = dataset[0]
    sample = item['data_samples']
    # The labels on the network's grid, as a perfect network would predict them.
    truth = sample.gt_sem_seg.data
    predicted = resample_labels(truth, affine, sample.affine, item['inputs'].shape[1:])
    assert predicted.shape[1:] == item['inputs'].shape[1:] != truth.shape[1:]
    sample.pred_sem_seg = BaseDataElement(data=predicted)
    metric = VolumetricMetric(output_dir=str(tmp_path / 'out'))
    metric.dataset_meta = {'classes': CLASSES}
    metric.process(None, [sample.to_dict()])
    written, image = nibabel.load(tmp_path / 'out' / 'a.nii.gz'), nibabel.load(tmp_path / 'images' / 'a.nii.gz')
    assert written.shape == image.shape and np.allclose(written.affine, image.affine, atol=1e-5)
    assert np.array_equal(np.asarray(written.dataobj), truth[0].numpy())
    scores = metric.evaluate(1)
    assert scores['volume/dice'] == 1 and scores['volume/hd95'] == 0
