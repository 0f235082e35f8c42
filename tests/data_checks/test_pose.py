from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

from .made import coco_config, content, write

pytest.importorskip('mmpose')

NAMES = ('nose', 'left_eye', 'right_eye')
SWAPS = ('', 'right_eye', 'left_eye')


def metainfo(**changes: Any) -> dict[str, Any]:
    infos = {at: dict(name=name, id=at, swap=swap) for at, (name, swap) in enumerate(zip(NAMES, SWAPS))}
    whole: dict[str, Any] = dict(dataset_name='x', keypoint_info=infos, skeleton_info={}, joint_weights=[1.0] * 3)
    return dict(whole, sigmas=[0.1] * 3, **changes) if 'sigmas' not in changes else dict(whole, **changes)


def keypoints(first: int = 0, count: int = 3) -> dict[str, Any]:
    file = content(('person',), first=first)
    for entry in file['annotations']:
        entry.update(keypoints=[5, 6, 2] * count, num_keypoints=count)
    file['categories'][0]['keypoints'] = list(NAMES)
    return file


def pose_config(tmp_path, train=None, val=None, meta=None) -> Config:
    config = coco_config(tmp_path, train or keypoints(), val or keypoints(10), metainfo=meta or metainfo())
    config.default_scope = 'mmpose'
    return config


def test_a_valid_data_set_passes(tmp_path):
    assert check_data_files(pose_config(tmp_path)) == []


def info(at, **changes):
    meta = metainfo()
    meta['keypoint_info'][at].update(changes)
    return meta


def without(key):
    meta = metainfo()
    del meta[key]
    return meta


@pytest.mark.parametrize(
    ('meta', 'sentence'),
    [
        (metainfo(sigmas=[0.1, 0.0, 0.1]), r'metainfo.sigmas holds 0.0; give numbers above 0'),
        (dict(metainfo(), keypoint_info={}), r'metainfo.keypoint_info is empty'),
        (dict(metainfo(), keypoint_info=['nose']), r'metainfo.keypoint_info is .* give a dict'),
        (dict(metainfo(), skeleton_info={0: dict(link=('nose',))}), r'skeleton_info.0.link is .* two keypoints'),
        (without('sigmas'), r"metainfo has no 'sigmas', which MMPose reads"),
        (metainfo(sigmas=[]), r'metainfo\.sigmas has 0 entries and keypoint_info 3 keypoints'),
        (info(1, swap='right_eyes'), "swap of 'left_eye' is 'right_eyes', which is no keypoint; nearest: 'right_eye'"),
        (info(2, swap=''), "swap of 'left_eye' is 'right_eye', and swap of 'right_eye' is ''"),
        (info(2, id=5), r'has the ids \[0, 1, 5\]; they must be 0 to 2'),
        (info(2, name='nose'), "holds the name 'nose' twice"),
        (dict(metainfo(), skeleton_info={0: dict(link=('nose', 'ear'))}), r"skeleton_info\.0\.link holds 'ear'"),
    ],
)
def test_keypoint_metadata_fits_itself(tmp_path, meta, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_data_files(pose_config(tmp_path, meta=meta))


def test_keypoints_of_the_file_are_those_of_the_metadata(tmp_path):
    with pytest.raises(ConfigError, match=r'annotation 1 has 6 numbers in keypoints \(2 keypoints\), and .* 9 numbers'):
        check_data_files(pose_config(tmp_path, keypoints(count=2)))
    file = keypoints()
    file['categories'][0]['keypoints'] = ['nose', 'right_eye', 'left_eye']
    with pytest.raises(ConfigError, match=r"keypoint 1 of category 'person' is 'right_eye', .* names 'left_eye'"):
        check_data_files(pose_config(tmp_path, file))


def test_text_ids_and_files_without_keypoints_are_refused(tmp_path):
    file = keypoints()
    for image in file['images']:
        image['id'] = str(image['id'])
    for entry in file['annotations']:
        entry['image_id'] = str(entry['image_id'])
    with pytest.raises(ConfigError, match=r"id '1', a text, and MMPose needs whole numbers"):
        check_data_files(pose_config(tmp_path, file))
    with pytest.raises(ConfigError, match='no annotation with a bbox and visible keypoints'):
        check_data_files(pose_config(tmp_path, content(('person',))))


@pytest.mark.parametrize(('field', 'advice'), [('area', r'use_area=False'), ('num_keypoints', 'number of visible')])
def test_fields_that_the_evaluator_reads_are_required(tmp_path, field, advice):
    val = keypoints(10)
    for entry in val['annotations']:
        del entry[field]
    config = pose_config(tmp_path, val=val)
    with pytest.raises(ConfigError, match=rf"val\.json': annotation 1 .* has no '{field}'; .*{advice}"):
        check_data_files(config)
    config.val_evaluator.use_area = False
    if field == 'area':
        assert check_data_files(config) == []


def test_annotation_ids_are_unique(tmp_path):
    file = keypoints()
    for entry in file['annotations']:
        entry['id'] = 1
    with pytest.raises(ConfigError, match='the annotation id 1 occurs 8 times'):
        check_data_files(pose_config(tmp_path, file))


def changed(value, at=0, field='keypoints'):
    file = keypoints()
    file['annotations'][at][field] = value
    return file


def test_a_visibility_is_0_1_or_2(tmp_path):
    with pytest.raises(ConfigError, match='annotation 1 has the visibility -1 in keypoints; valid: 0'):
        check_data_files(pose_config(tmp_path, changed([5, 6, 2, 5, 6, -1, 5, 6, 2])))


def test_visible_keypoints_that_num_keypoints_denies_are_a_note(tmp_path):
    (note,) = check_data_files(pose_config(tmp_path, changed(0, field='num_keypoints')))
    assert '1 annotations have num_keypoints 0 and visible keypoints (first: annotation 1)' in note


@pytest.mark.parametrize(
    ('detections', 'sentence'),
    [
        (None, r"val_dataloader.dataset.bbox_file: '.*boxes.json' does not exist; leave bbox_file out"),
        ({'a': 1}, 'is not a list of detections'),
        ([dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4])], "detection number 0 has no 'score'"),
        ([dict(image_id=1, category_id=2, bbox=[1, 2, 3, 4], score=1.0)], 'has no detection of category_id 1'),
        ([dict(image_id=99, category_id=1, bbox=[1, 2, 3, 4], score=1.0)], 'a detection in image 99, which '),
        ([dict(image_id=1, category_id=1, bbox=[1, 2, 3], score=1.0)], r'has the bbox \[1, 2, 3\]'),
    ],
)
def test_the_file_of_detected_boxes(tmp_path, detections, sentence):
    config = pose_config(tmp_path)
    if detections is not None:
        write(tmp_path / 'boxes.json', detections)
    config.val_dataloader.dataset.bbox_file = str(tmp_path / 'boxes.json')
    with pytest.raises(ConfigError, match=sentence):
        check_data_files(config)


def test_metadata_may_come_from_a_file(tmp_path):
    file = tmp_path / 'meta.py'
    file.write_text(f'dataset_info = {metainfo()!r}')
    assert check_data_files(pose_config(tmp_path, meta=dict(from_file=str(file)))) == []
    file.write_text(f'dataset_info = {metainfo(sigmas=[0.1])!r}')
    with pytest.raises(ConfigError, match=r'metainfo.from_file.sigmas has 1 entries and keypoint_info 3 keypoints'):
        check_data_files(pose_config(tmp_path, meta=dict(from_file=str(file))))
    with pytest.raises(ConfigError, match=r"metainfo.from_file: 'configs/cocoo.py' does not exist; nearest: 'coco.py'"):
        check_data_files(pose_config(tmp_path, meta=dict(from_file='configs/cocoo.py')))
