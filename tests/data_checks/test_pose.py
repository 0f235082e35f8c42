from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

from .made import coco_config, content

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
