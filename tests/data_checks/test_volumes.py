from __future__ import annotations

import json
import re

import numpy as np
import pytest

from kd_plugins.data_checks import check_data_files
from kd_plugins.datasets.nifti import read_labels
from kd_plugins.errors import ConfigError

from .made_volumes import SIZE, intensities, labels, scaled, volume, volumes_config

pytest.importorskip('nibabel')
pytest.importorskip('monai')
CROP = dict(type='RandCropByPosNegLabeld', keys=['image', 'label'], label_key='label', spatial_size=(8, 8, 10))
RANDOM = dict(type='RandSpatialCropd', keys=['image', 'label'], roi_size=(8, 8, 10))
PAD = dict(type='SpatialPadd', keys=['image', 'label'], spatial_size=(8, 8, 10))
TURN = dict(type='Orientationd', keys=['image', 'label'], axcodes='RAS')


def label(voxels, **options):
    return lambda root, config: volume(root / 'labels/v1.nii.gz', voxels, **options)


def picture(voxels, name='images/v1.nii.gz', **options):
    return lambda root, config: volume(root / name, voxels, **options)


def cut(name, size):
    return lambda root, config: (root / name).write_bytes((root / name).read_bytes()[:size])


def all_labels(voxels):
    def change(root, config):
        for path in root.glob('labels/*'):
            volume(path, voxels)

    return change


def all_scaled(root, config):
    for path in root.glob('labels/*'):
        scaled(path, labels(0, 1, 2))


def interpolated(root, config):
    scaled(root / 'labels/v1.nii.gz', labels(0, 0.4, 2, dtype=float))


def listed(entries):
    def change(root, config):
        (root / 'list.json').write_text(json.dumps({'training': entries}))
        config.train_dataloader.dataset.update(ann_file='list.json', part=None, split=None)

    return change


def without_labels(root, config):
    config.train_dataloader.dataset.data_prefix.pop('seg')


def val_without_labels(root, config):
    config.val_dataloader.dataset.data_prefix.pop('seg')


def hole(value):
    voxels = intensities()
    voxels[3, 3, 3] = value
    return voxels


REFUSED = {
    'cut image': (cut('images/v1.nii.gz', 700), {}, r"images/v1\.nii\.gz' is truncated"),
    'cut label': (cut('labels/v1.nii.gz', 60), {}, r"labels/v1\.nii\.gz' is truncated"),
    'cut header': (cut('images/v1.nii.gz', 20), {}, r"images/v1\.nii\.gz' is truncated"),
    'empty image': (cut('images/v1.nii.gz', 0), {}, r"images/v1\.nii\.gz' is truncated"),
    'shape': (label(np.zeros((12, 10, 9), np.uint8)), {}, r'labels/v1.* has shape \(12, 10, 9\) where its image'),
    'affine': (label(labels(0, 1, 2), affine=np.diag([1, 1, 2, 1])), {}, r'different affines \(row 2'),
    'too large': (label(labels(0, 1, 3)), {}, r'holds the label 3, but .*: 0 to 2'),
    'negative': (label(labels(0, 1, -1, dtype=np.int16)), {}, r'holds the label -1, but'),
    'fraction': (label(labels(0, 0.4, 2, dtype=np.float32)), {}, r'holds the label 0\.4; labels are whole.*np\.round'),
    'scaled fraction': (interpolated, {}, r'is scaled \(scl_slope .*\) and holds the label 0\.[34]'),
    'NaN': (picture(hole(np.nan)), {}, r'images/v1.* holds NaN or infinite voxels'),
    'infinite': (picture(hole(np.inf)), {}, r'images/v1.* holds NaN or infinite voxels'),
    'NaN label': (label(labels(0, 1, np.nan, dtype=np.float32)), {}, r'labels/v1.* holds NaN or infinite voxels'),
    'channels': (picture(intensities(*SIZE, 2)), {}, r'in_channels is 1, and .*\(12, 10, 8, 2\) has 2 channels'),
    'plane': (picture(intensities(12, 10)), {}, r'has shape \(12, 10\); expected 3 axes'),
    'no label': (lambda root, _: (root / 'labels/v1.nii.gz').unlink(), {}, r"v1\.nii\.gz' has no label in"),
    'listed, missing': (
        listed([dict(image='images/v9.nii.gz', label='labels/v1.nii.gz')]),
        {},
        r"v9.*' does not exist",
    ),
    'list without names': (
        lambda root, c: listed([])(root, c) or (root / 'list.json').write_text('[]'),
        {},
        'holds a list; exp',
    ),
    'listed numbers': (listed([[1, 2]]), {}, r"holds \[1, 2\]; expected 'image' and 'label'"),
    'listed, unlabelled': (listed(['images/v1.nii.gz']), {}, r"v1\.nii\.gz' has no labels, and training needs them"),
    'unlabelled': (without_labels, {}, r'has no labels, and training needs them; set data_prefix\.seg'),
    'val unlabelled': (val_without_labels, {}, r'has no labels, and val_evaluator \(VolumetricMetric\)'),
    'small': (None, dict(steps=[CROP]), r'12x10x8 voxels \(2 of 2 .*RandCropByPosNegLabeld takes 8x8x10; add Spatial'),
    'classes': (None, dict(metainfo=dict(classes=('ground', 'a'))), r'out_channels is 3, but .* has 2 classes'),
    'background': (all_labels(labels(0)), {}, r'all 2 label files hold 0 alone'),
    'one of 0 and 255': (all_labels(labels(0, 255)), {}, r'holds the label 255, but'),
}
SILENT = {
    'valid': (None, {}),
    'scaled': (all_scaled, {}),
    'floats': (all_labels(labels(0, 1, 2, dtype=np.float32)), {}),
    'label with one channel': (label(labels(0, 1, 2)[..., None]), {}),
    'image with one channel': (picture(intensities(*SIZE, 1)), {}),
    'small, padded': (None, dict(steps=[PAD, CROP])),
    'small, allowed': (None, dict(steps=[dict(CROP, allow_smaller=True)])),
    'small, turned': (None, dict(steps=[TURN, CROP])),
    'large enough': (None, dict(steps=[dict(CROP, spatial_size=(8, 8, 8))])),
    'channels selected': (picture(intensities(*SIZE, 2)), dict(steps=[dict(type='Lambdad', keys='image', func=None)])),
}
REMARKED = {
    'unused class': (all_labels(labels(0, 1)), {}, r"2 label files of training have no voxel of 'b'"),
    'small, random': (None, dict(steps=[RANDOM]), r'2 of 2 volumes are smaller than the patch'),
    'overlap': (lambda _, c: c.val_dataloader.dataset.update(part='train'), {}, r'2 of 2 files of val_dataloader'),
}


def check(tmp_path, change, **arguments):
    config = volumes_config(tmp_path, **arguments)
    if change:
        change(tmp_path, config)
    return check_data_files(config)


@pytest.mark.parametrize('name', REFUSED)
def test_volumes_that_would_fail_or_mislead_are_refused_in_one_sentence(tmp_path, name):
    change, arguments, sentence = REFUSED[name]
    with pytest.raises(ConfigError, match=sentence) as refusal:
        check(tmp_path, change, **arguments)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize('name', SILENT)
def test_valid_volumes_have_no_remark(tmp_path, name):
    change, arguments = SILENT[name]
    assert check(tmp_path, change, **arguments) == []


@pytest.mark.parametrize('name', REMARKED)
def test_suspicious_volumes_are_remarked(tmp_path, name):
    change, arguments, sentence = REMARKED[name]
    notes = check(tmp_path, change, **arguments)
    assert any(re.search(sentence, note) for note in notes), notes


def test_a_sample_of_many_volumes_says_how_many(tmp_path, monkeypatch):
    monkeypatch.setattr('kd_plugins.data_checks.volumes.SECONDS', 0.0)
    monkeypatch.setattr('kd_plugins.data_checks.volumes.FIRST', 1)
    notes = check_data_files(volumes_config(tmp_path), ('train_dataloader',))
    assert notes == ['train_dataloader.dataset: 1 of 2 volumes were read, evenly over the data set']


def test_labels_that_were_stored_as_scaled_integers_are_read_as_whole_numbers(tmp_path):
    volumes_config(tmp_path)
    path = tmp_path / 'labels/v1.nii.gz'
    scaled(path, labels(0, 1, 2))
    voxels = read_labels(str(path), str(tmp_path / 'images/v1.nii.gz'), ('ground', 'a', 'b'))
    assert np.array_equal(voxels[0].numpy(), labels(0, 1, 2))
