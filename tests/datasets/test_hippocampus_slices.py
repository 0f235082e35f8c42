"""Slices of hippocampus volumes: pixels, boxes and files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('nibabel')
pytest.importorskip('monai')
from kd_plugins.datasets import hippocampus_slices as slices
from kd_plugins.errors import ConfigError
from tests.volumes import make_pair, write_nifti


def test_boxes_are_those_of_the_labels() -> None:
    labels = np.zeros((12, 10, 6), np.int64)
    labels[2:7, 1:9, 3] = 1  # 5 voxels along the first axis, 8 along the second
    labels[8:10, 4:6, 3] = 2
    labels[0:4, 0:4, 5] = 2
    volume = np.random.default_rng(0).normal(size=labels.shape)
    found = slices.slices_of(volume, labels)
    assert sorted(found) == [3, 5]
    plane = found[3]
    assert plane.boxes.tolist() == [[2, 1, 7, 9], [8, 4, 10, 6]] and plane.labels.tolist() == [0, 1]
    assert plane.areas.tolist() == [40, 4] and plane.image.shape == (10, 12)
    assert np.array_equal(plane.mask, labels[:, :, 3].T)
    # The label of a box covers the brightest region where the volume is the label itself.
    bright = slices.slices_of(labels.astype(float), labels)[3].image
    assert (bright[1:9, 2:7] > 0).all() and bright[0].max() == 0


def test_files_and_crowds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, 'SIZES', {'train': 2, 'val': 1, 'test': 1})
    for name in ('a.nii.gz', 'b.nii.gz', 'c.nii.gz'):
        make_pair(tmp_path / 'volumes', name)
    volume = np.zeros((12, 14, 10), np.float32)
    labels = np.zeros(volume.shape, np.uint8)
    labels[1:9, 2:5, 4] = 1  # three voxels wide: a crowd
    write_nifti(tmp_path / 'volumes/images/d.nii.gz', volume)
    write_nifti(tmp_path / 'volumes/labels/d.nii.gz', labels)
    counts = {split: slices.make_split(tmp_path / 'volumes', tmp_path / 'out', split) for split in slices.SIZES}
    assert all(counts.values())
    names: set[str] = set()
    crowds: list[int] = []
    for split, count in counts.items():
        coco = json.loads((tmp_path / 'out' / 'annotations' / f'{split}.json').read_text())
        assert len(coco['images']) == count == len(list((tmp_path / 'out' / split).iterdir()))
        for image in coco['images']:
            pixels = cv2.imread(str(tmp_path / 'out' / split / image['file_name']))
            assert pixels.shape == (image['height'], image['width'], 3) == (14, 12, 3)
            mask = cv2.imread(str(tmp_path / 'out' / 'masks' / split / image['file_name']), cv2.IMREAD_UNCHANGED)
            boxes = [entry for entry in coco['annotations'] if entry['image_id'] == image['id']]
            assert mask.shape == (14, 12) and mask.dtype == np.uint8
            assert {(entry['category_id'], entry['area']) for entry in boxes} == {
                (number, (mask == number).sum()) for number in np.unique(mask) if number
            }
        for entry in coco['annotations']:
            crowds.append(entry['iscrowd'])
            assert entry['iscrowd'] == (min(entry['bbox'][2:]) < slices.MIN_SIDE)
        names |= {image['file_name'][0] for image in coco['images']}
    assert set(crowds) == {0, 1}
    assert names == {'a', 'b', 'c', 'd'}
    assert slices.make_split(tmp_path / 'volumes', tmp_path / 'out', 'val') is None


def test_slices_of_other_volumes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, 'SIZES', {'train': 1})
    for root, name in (('first', 'a.nii.gz'), ('second', 'b.nii.gz')):
        make_pair(tmp_path / root, name)
        count = slices.make_split(tmp_path / root, tmp_path / 'out', 'train')
        present = sorted(path.name for path in (tmp_path / 'out' / 'train').iterdir())
        coco = json.loads((tmp_path / 'out' / 'annotations' / 'train.json').read_text())
        assert len(present) == count and present == [image['file_name'] for image in coco['images']]
    # Other voxels below the same name.
    write_nifti(tmp_path / 'second' / 'images' / 'b.nii.gz', np.zeros((12, 14, 10), np.float32))
    assert slices.make_split(tmp_path / 'second', tmp_path / 'out', 'train') == count
    assert slices.make_split(tmp_path / 'second', tmp_path / 'out', 'train') is None
    image = cv2.imread(str(tmp_path / 'out' / 'train' / present[0]), cv2.IMREAD_GRAYSCALE)
    assert image.max() == 0


def test_masks_join_a_folder_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, 'SIZES', {'train': 1})
    make_pair(tmp_path / 'volumes', 'a.nii.gz')
    count = slices.make_split(tmp_path / 'volumes', tmp_path / 'out', 'train')
    images = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out' / 'train').iterdir()}
    shutil.rmtree(tmp_path / 'out' / 'masks')
    assert slices.make_split(tmp_path / 'volumes', tmp_path / 'out', 'train') == count == len(images)
    assert {path: path.stat().st_mtime_ns for path in images} == images  # the images were not written again
    assert {path.name for path in images} == {path.name for path in (tmp_path / 'out' / 'masks' / 'train').iterdir()}


def test_missing_volumes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no volumes; 'kd_plugins data hippocampus' fetches them"):
        slices.make_split(tmp_path, tmp_path / 'out', 'train')
