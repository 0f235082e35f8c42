"""Images without annotations: which files become items, and that the pipelines of three packages pack them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope

from kd_plugins.datasets import ImageFolder
from kd_plugins.datasets.image_folder import find_images
from kd_plugins.errors import ConfigError

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data'
BCCD = SHARED / 'bccd'
ISBI = SHARED / 'isbi_membrane' / 'train' / 'image'
COCO_POSE = SHARED / 'coco_pose'


def touch(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def write_json(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def names(dataset: ImageFolder, root: Path) -> list[str]:
    paths = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
    return [Path(path).relative_to(root).as_posix() for path in paths]


def test_a_folder_gives_all_images_below_it_in_one_order(tmp_path: Path) -> None:
    shown = ['B.JPG', 'a.jpeg', 'b/z.png', 'b/c/1.TIFF', 'b/c/2.bmp', 'd.webp', 'e.tif']
    hidden = ['notes.txt', '.thumb.jpg', '._B.JPG', '.cache/x.jpg', 'b/labels.json', 'jpg']
    root = touch(tmp_path, *shown, *hidden)
    dataset = ImageFolder(data_root=root)
    assert names(dataset, tmp_path) == sorted(shown)
    item = dataset.get_data_info(2)
    assert item['img_id'] == 2
    assert item['instances'] == [] and item['seg_fields'] == []
    assert names(ImageFolder(data_root=root, indices=2), tmp_path) == sorted(shown)[:2]
    assert names(ImageFolder(data_root=root, data_prefix={'img': 'b'}), tmp_path) == [
        'b/c/1.TIFF',
        'b/c/2.bmp',
        'b/z.png',
    ]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / 'elsewhere', '1.png', '2.png')
    root = Path(touch(tmp_path / 'root', '0.png', 'sub/3.png'))
    os.symlink(tmp_path / 'elsewhere', root / 'linked')
    os.symlink(root, root / 'sub' / 'up')  # would never end
    assert [Path(path).relative_to(root).as_posix() for path in find_images(str(root))] == [
        '0.png',
        'linked/1.png',
        'linked/2.png',
        'sub/3.png',
    ]


def test_a_list_gives_its_images_in_its_order_without_annotations(tmp_path: Path) -> None:
    touch(tmp_path, 'images/b.png', 'images/a.png', 'images/not_listed.png')
    content = {
        'images': [{'id': 7, 'file_name': 'b.png', 'height': 4, 'width': 6}, {'id': 3, 'file_name': 'a.png'}],
        'annotations': [{'image_id': 7, 'bbox': [0, 0, 1, 1], 'category_id': 1}],
    }
    write_json(tmp_path / 'list.json', content)
    dataset = ImageFolder(data_root=str(tmp_path), ann_file='list.json', data_prefix={'img_path': 'images'})
    assert names(dataset, tmp_path) == ['images/b.png', 'images/a.png']
    first, second = dataset.get_data_info(0), dataset.get_data_info(1)
    assert (first['img_id'], first['height'], first['width'], first['instances']) == (7, 4, 6, [])
    assert second['img_id'] == 3 and 'height' not in second


def box(image: int, *, score: float = 1.0, category: int = 1, width: float = 4) -> dict[str, Any]:
    return {'image_id': image, 'category_id': category, 'bbox': [1, 2, width, 5], 'score': score}


def with_boxes(tmp_path: Path, boxes: Any, **options: Any) -> ImageFolder:
    root = touch(tmp_path, 'a.png', 'b.png')
    write_json(tmp_path / 'list.json', {'images': [{'id': 1, 'file_name': 'a.png'}, {'id': 2, 'file_name': 'b.png'}]})
    bbox_file = write_json(tmp_path / 'boxes.json', boxes)
    return ImageFolder(data_root=root, ann_file='list.json', bbox_file=bbox_file, **options)


def test_boxes_from_a_file_give_one_item_each(tmp_path: Path) -> None:
    boxes = [box(2, score=0.9), box(2, score=0.2), box(1, category=3), box(1, score=0.5), box(1, width=0)]
    dataset = with_boxes(tmp_path, boxes, bbox_score_thr=0.3)
    items = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [(item['img_id'], item['id'], item['category_id']) for item in items] == [(2, 0, 1), (1, 1, 1)]
    assert names(dataset, tmp_path) == ['b.png', 'a.png']
    np.testing.assert_array_equal(items[0]['bbox'], np.array([[1, 2, 5, 7]], dtype=np.float32))
    assert items[0]['bbox'].dtype == items[0]['bbox_score'].dtype == np.float32
    assert items[0]['bbox_score'].shape == (1,)
    assert len(with_boxes(tmp_path, boxes, bbox_category=None)) == 4


def test_of_a_labelled_file_only_the_boxes_are_used(tmp_path: Path) -> None:
    person = {name: value for name, value in box(2).items() if name != 'score'} | {'keypoints': [3, 3, 2], 'iscrowd': 0}
    dataset = with_boxes(tmp_path, {'annotations': [person, box(1) | {'iscrowd': 1}]})
    assert names(dataset, tmp_path) == ['b.png']
    item = dataset.get_data_info(0)
    assert item['bbox'].tolist() == [[1, 2, 5, 7]] and item['bbox_score'].tolist() == [1]
    assert 'keypoints' not in item and not item['instances']


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({}, "dataset.data_root is ''; give the folder"),
        ({'data_root': '{}/missing'}, "the folder '.*missing' does not exist"),
        ({'data_root': '{}/a.png'}, "the folder '.*a.png' is a file"),
        ({'data_root': '{}/empty'}, "the folder '.*empty' holds no image; the suffixes of images are .bmp, .jpeg"),
        ({'data_root': '{}', 'data_prefix': {'image': ''}}, "dataset.data_prefix is .*nearest: 'img'"),
        ({'data_root': '{}', 'data_prefix': {}}, 'dataset.data_prefix is .*give one of img_path, img'),
        ({'data_root': '{}', 'ann_file': 'missing.json'}, "dataset.ann_file: '.*missing.json' cannot be read: No such"),
        ({'data_root': '{}', 'ann_file': 'cut.json'}, "dataset.ann_file: '.*cut.json' is not json"),
        ({'data_root': '{}', 'ann_file': 'boxes.json'}, "holds a list; it must be an object with a list 'images'"),
        ({'data_root': '{}', 'ann_file': 'keys.json'}, "holds the keys .*'categories'"),
        ({'data_root': '{}', 'ann_file': 'none.json'}, 'lists no image'),
        ({'data_root': '{}', 'ann_file': 'unnamed.json'}, "image number 1 of '.*unnamed.json' has no 'file_name'"),
        ({'data_root': '{}', 'ann_file': 'gone.json'}, "lists 2 images and 1 of them do not exist.*gone.png'; set"),
        ({'data_root': '{}', 'bbox_file': '{}/boxes.json'}, 'dataset.bbox_file needs dataset.ann_file'),
        ({'data_root': '{}', 'bbox_score_thr': -1}, 'dataset.bbox_score_thr is -1'),
        ({'data_root': '{}', 'bbox_category': 'person'}, "dataset.bbox_category is 'person'; valid: 1, None"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    touch(tmp_path, 'a.png')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'cut.json').write_text('{"images": [')
    write_json(tmp_path / 'boxes.json', [box(1)])
    write_json(tmp_path / 'keys.json', {'categories': []})
    write_json(tmp_path / 'none.json', {'images': []})
    write_json(tmp_path / 'unnamed.json', {'images': [{'file_name': 'a.png'}, {'id': 2}]})
    write_json(tmp_path / 'gone.json', {'images': [{'file_name': 'a.png'}, {'file_name': 'gone.png'}]})
    filled = {name: v.format(tmp_path) if isinstance(v, str) else v for name, v in options.items()}
    with pytest.raises(ConfigError, match=match) as caught:
        ImageFolder(**filled)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('boxes', 'match'),
    [
        ({'images': []}, "holds a dict; it must be a list of objects .* or an object with a list 'annotations'"),
        ({'annotations': [box(1) | {'iscrowd': 1}]}, 'none of the 1 boxes'),
        ([box(1), box(9)], 'box number 1 of .* is of image 9, which dataset.ann_file does not list'),
        ([{'image_id': 1, 'bbox': [0, 0, 1]}], 'box number 0 of .* has no image_id or no bbox'),
        ([{'bbox': [0, 0, 1, 1]}], 'box number 0 of .* has no image_id or no bbox'),
        ([box(1, category=2)], 'none of the 1 boxes .* and the category 1; lower'),
    ],
)
def test_boxes_that_do_not_fit_are_refused(tmp_path: Path, boxes: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        with_boxes(tmp_path, boxes)


def build(scope: str, **config: Any) -> Any:
    pytest.importorskip(scope)
    init_default_scope(scope)
    return DATASETS.build(dict(type='kd_plugins.ImageFolder', **config))


@pytest.mark.skipif(not BCCD.is_dir(), reason='needs ../shared/data/bccd')
@pytest.mark.parametrize('annotations', [False, True])
def test_mmdet_packs_real_images_with_empty_instances(annotations: bool) -> None:
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(320, 240), keep_ratio=True),
        dict(type='RandomFlip', prob=1.0),
        dict(type='PackDetInputs'),
    ]
    if annotations:  # the pipeline of the labelled images fits as well
        steps.insert(1, dict(type='LoadAnnotations', with_bbox=True))
    options = dict(data_root=str(BCCD), ann_file='coco/train.json', data_prefix=dict(img='JPEGImages'))
    dataset = build('mmdet', pipeline=steps, **options)
    assert len(dataset) == 205
    packed = dataset[3]
    assert tuple(packed['inputs'].shape) == (3, 240, 320)
    sample = packed['data_samples']
    assert len(sample.gt_instances) == 0
    assert (sample.ori_shape, sample.img_shape, sample.flip) == ((480, 640), (240, 320), True)
    if annotations:
        assert tuple(sample.gt_instances.bboxes.tensor.shape) == (0, 4)
    assert len(build('mmdet', pipeline=steps, data_root=str(BCCD))) == 364


@pytest.mark.skipif(not ISBI.is_dir(), reason='needs ../shared/data/isbi_membrane')
def test_mmseg_packs_real_images_without_a_map() -> None:
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='RandomResize', scale=(512, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(128, 96)),
        dict(type='RandomFlip', prob=1.0),
        dict(type='PackSegInputs'),
    ]
    dataset = build('mmseg', pipeline=steps, data_root=str(ISBI))
    assert len(dataset) == 30
    packed = dataset[0]
    assert tuple(packed['inputs'].shape) == (3, 128, 96)
    assert 'gt_sem_seg' not in packed['data_samples']
    assert packed['data_samples'].img_shape == (128, 96)


@pytest.mark.skipif(not COCO_POSE.is_dir(), reason='needs ../shared/data/coco_pose')
def test_mmpose_crops_real_boxes() -> None:
    steps = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='RandomFlip', direction='horizontal', prob=1.0),
        dict(type='RandomBBoxTransform'),
        dict(type='TopdownAffine', input_size=(96, 128)),
        dict(type='PackPoseInputs'),
    ]
    boxes = str(COCO_POSE / 'test_coco_det_AP_H_56.json')
    options = dict(data_root=str(COCO_POSE), ann_file='test_coco.json', bbox_file=boxes, pipeline=steps)
    dataset = build('mmpose', bbox_score_thr=0.5, **options)
    assert len(dataset) == 18
    packed = dataset[0]
    assert tuple(packed['inputs'].shape) == (3, 128, 96)
    sample = packed['data_samples']
    assert (sample.img_id, sample.id, sample.category_id) == (785, 0, 1)
    assert sample.gt_instances.bboxes.shape == (1, 4)
    assert float(sample.gt_instances.bbox_scores[0]) == pytest.approx(0.99997, abs=1e-5)
