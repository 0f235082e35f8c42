"""Digit images: reproducible, with exact boxes, disjoint splits and a valid COCO file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('sklearn')

from kd_plugins.datasets import digits
from kd_plugins.datasets.digits import SPLITS, compose, load_scans, make_split
from kd_plugins.errors import ConfigError


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('digits')
    for split in SPLITS:
        assert make_split(folder, split, 6, seed=3, size=128)
    return folder


def test_scans_of_train_and_val_are_disjoint_and_cover_all_classes() -> None:
    train, val = load_scans('train'), load_scans('val')
    assert not set(train.ids) & set(val.ids)
    assert len(train.ids) + len(val.ids) == 1797
    for scans in (train, val):
        assert sorted(set(scans.labels)) == list(range(10))
        assert scans.ink.min() == 0.0 and scans.ink.max() == 1.0


def test_an_image_is_a_function_of_split_seed_and_index() -> None:
    scans = load_scans('train')
    first = compose(scans, 'train', 5, seed=1)
    compose(scans, 'train', 6, seed=1)  # what was drawn in between does not matter
    again = compose(scans, 'train', 5, seed=1)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.boxes, again.boxes)
    for other in (
        compose(scans, 'train', 6, seed=1),
        compose(scans, 'train', 5, seed=2),
        compose(scans, 'val', 5, seed=1),
    ):
        assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize('size', [64, 160, 200])
def test_boxes_are_tight_inside_the_image_and_mostly_visible(size: int) -> None:
    scans = load_scans('val')
    overlaps = 0
    for index in range(25):
        scene = compose(scans, 'val', index, size=size)
        assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
        assert len(scene.boxes) == len(scene.labels) == len(scene.masks)
        covered = np.zeros((size, size), dtype=bool)
        for box, mask in zip(scene.boxes[::-1], scene.masks[::-1]):
            x1, y1, x2, y2 = box
            assert 0 <= x1 < x2 <= size and 0 <= y1 < y2 <= size
            # No ink outside, and ink on each of the four sides.
            assert mask.sum() == mask[y1:y2, x1:x2].sum()
            assert mask[y1].any() and mask[y2 - 1].any() and mask[:, x1].any() and mask[:, x2 - 1].any()
            hidden = (mask & covered).sum()
            overlaps += int(hidden > 0)
            assert mask.sum() - hidden >= digits.MIN_VISIBLE * mask.sum()
            covered |= mask
    assert overlaps > 0 or size == 64


def test_scales_vary_and_several_digits_share_an_image() -> None:
    scans = load_scans('train')
    scenes = [compose(scans, 'train', index) for index in range(60)]
    heights = np.concatenate([scene.boxes[:, 3] - scene.boxes[:, 1] for scene in scenes])
    assert heights.max() > 2.5 * heights.min()
    assert 3 <= np.mean([len(scene.boxes) for scene in scenes]) <= 6


@pytest.mark.parametrize('split', SPLITS)
def test_pycocotools_reads_the_annotations_and_finds_them_perfect(root: Path, split: str) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO(str(root / 'annotations' / f'{split}.json'))
    assert [category['name'] for category in coco.loadCats(coco.getCatIds())] == list(digits.CLASSES)
    assert len(coco.getImgIds()) == 6
    for image in coco.loadImgs(coco.getImgIds()):
        assert (root / split / image['file_name']).exists()
    perfect = [{**annotation, 'score': 1.0} for annotation in coco.dataset['annotations']]
    evaluation = COCOeval(coco, coco.loadRes(perfect), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


@pytest.mark.parametrize('split', SPLITS)
def test_the_second_annotation_file_has_the_same_boxes_in_one_class(root: Path, split: str) -> None:
    ten, one = (
        json.loads((root / 'annotations' / f'{split}{suffix}.json').read_text()) for suffix in ('', '_one-class')
    )
    assert [category['name'] for category in one['categories']] == ['digit']
    assert one['images'] == ten['images'] and len({entry['category_id'] for entry in ten['annotations']}) > 1
    assert one['annotations'] == [{**entry, 'category_id': 1} for entry in ten['annotations']]


def test_made_once_and_made_again_where_something_changed(root: Path) -> None:
    ann_file = root / 'annotations' / 'train.json'
    image = root / 'train' / '000000.jpg'
    before = image.stat().st_mtime_ns, image.read_bytes(), ann_file.read_bytes()
    assert not make_split(root, 'train', 6, seed=3, size=128)
    assert image.stat().st_mtime_ns == before[0]
    ann_file.write_text(ann_file.read_text()[:100])  # a truncated file
    assert make_split(root, 'train', 6, seed=3, size=128)
    assert (image.read_bytes(), ann_file.read_bytes()) == before[1:]
    assert make_split(root, 'train', 6, seed=4, size=128)
    assert json.loads(ann_file.read_text())['info']['seed'] == 4
    assert make_split(root, 'train', 6, seed=3, size=128)
    assert not list(root.rglob('*.partial'))


def test_fewer_images_leave_none_of_the_earlier_ones(tmp_path: Path) -> None:
    assert make_split(tmp_path, 'train', 3, size=64)
    for name in ('mine.jpg', '000777.jpg'):
        (tmp_path / 'train' / name).write_bytes(b'')
    assert make_split(tmp_path, 'train', 1, seed=1, size=64)
    # ImageFolder would take them for images of this data set.
    assert sorted(path.name for path in (tmp_path / 'train').iterdir()) == ['000000.jpg', '000777.jpg', 'mine.jpg']


def test_wrong_arguments_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'trian' does not exist; nearest: 'train'"):
        load_scans('trian')
    with pytest.raises(ConfigError, match='0 images of 160 pixels'):
        make_split(tmp_path, 'train', 0)
