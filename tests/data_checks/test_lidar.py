from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

from .made_clouds import DONTCARE, clouds_config, infos, infos_config, points, row

pytest.importorskip('mmdet3d')
CLOUD = [[10.0, 0.0, -1.0, 0.5], [20.0, 3.0, 0.0, 0.1]]


def label(text, name='000000'):
    return lambda root, config: (root / 'label_2' / f'{name}.txt').write_text(text)


def cloud(rows, name='000000'):
    return lambda root, config: points(root / 'velodyne' / f'{name}.bin', rows)


def raw(name, content):
    return lambda root, config: (root / name).write_bytes(content)


def split(text):
    return lambda root, config: (root / 'train.txt').write_text(text)


def removed(name):
    return lambda root, config: (root / name).unlink()


def load_dim(root, config):
    points(root / 'velodyne/000000.bin', np.ones((5, 5)))


REFUSED = {
    'own name in other case': (label(row('car')), {}, r"label_2' holds no object of them, but 1 car; nearest: 'Car'"),
    'DontCare alone': (label(DONTCARE), {}, r'holds no object of them, but 1 DontCare; annotate'),
    'no line': (label(''), {}, r'holds no object of them, but nothing'),
    'none to measure': (label(DONTCARE, '000001'), {}, r'val_dataloader.* holds no object of them'),
    'other class': (None, dict(classes=('Pallet',)), r"\('Pallet'\).*but 1 Car"),
    'few columns': (label('Car 0 0 0 1 2\n'), {}, r"000000\.txt' line 1 has 6 fields; valid: KITTI's 15"),
    'text for a number': (label(row(size='a 1 1')), {}, r'line 1 is .*; valid: a name without spaces, and 14 finite'),
    'name with a space': (label(row('Big car')), {}, r'line 1 is .Big car 0'),
    'NaN': (label(row(size='nan 1 1')), {}, r'14 finite numbers'),
    'no size': (label(row() + row(size='0 1 1')), {}, r"000000\.txt' line 2: Car has the size \[0\.0, 1\.0, 1\.0\]"),
    'negative size': (label(row(size='1 -1 1')), {}, r'Car has the size .* every side must be positive'),
    'out of range': (label(row(place='2 1 900')), {}, r'Car lies at \[900\.0, .*none of 1 objects is in the point_cl'),
    'bytes in a label': (raw('label_2/000000.txt', b'\xff\xfe\x00'), {}, r'is not a text file'),
    'no label file': (
        removed('label_2/000000.txt'),
        {},
        r"label_2/000000\.txt' does not exist.*nearest: '000001\.txt'",
    ),
    'no calibration': (removed('calib/000000.txt'), {}, r"calib/000000\.txt' does not exist"),
    'calibration without P2': (raw('calib/000000.txt', b'P1: 1\n'), {}, r'has no P2 of 3x4 numbers'),
    'calibration of text': (raw('calib/000000.txt', b'P2: a b\n'), {}, r'has no P2 of 3x4 numbers'),
    'no cloud': (removed('velodyne/000000.bin'), {}, r"velodyne/000000\.bin' does not exist"),
    'unknown frame': (split('000000\n12\n'), {}, r"velodyne/12\.bin' does not exist.*nearest"),
    'frame with suffix': (split('000000.bin\n'), {}, r"000000\.bin\.bin' does not exist.*nearest: '000000\.bin'"),
    'empty split': (split('\n'), {}, r'no frames in'),
    'cut cloud': (raw('velodyne/000000.bin', b'\0' * 30), {}, r'30 bytes, which is no whole number of points of 4'),
    'five columns': (load_dim, {}, r'100 bytes, .* nearest: load_dim=5'),
    'empty cloud': (raw('velodyne/000000.bin', b''), {}, r"000000\.bin' is empty"),
    'cloud out of range': (cloud([[900, 0, 0, 1]]), {}, r'none of 1 points is in the point_cloud_range .*\[900\.0,'),
    'NaN cloud': (cloud([[np.nan] * 4]), {}, r'none of 1 points .* reach from NaN'),
    'NaN intensity': (cloud([*CLOUD, [10, 0, 0, np.nan]]), {}, r'point 2 is \[10\.0, 0\.0, 0\.0, nan\]; remove'),
}
SILENT = {
    'valid': (None, {}),
    'own class': (label(row('Pallet')), dict(classes=('Pallet',))),
    'other names of KITTI': (label(row() + row('Van') + row('Misc', '0 0 0')), {}),
    'a score as well': (label(row().strip() + ' 0.9\n'), {}),
    'CRLF': (label(row().replace('\n', '\r\n')), {}),
    'some out of range': (label(row() + row(place='2 1 900')), {}),
    'split with CRLF': (split('000000\r\n'), {}),
}
REMARKED = {
    'foreign name': (label(row() + row('car')), {}, r"no class are left out: 1 car; for 'car' nearest: 'Car'"),
    'unused class': (None, dict(classes=('Car', 'Cyclist')), r"has no object of 'Cyclist' for train_dataloader"),
    'NaN places': (cloud([*CLOUD, [np.nan, 0, 0, 1]]), {}, r'1 clouds hold points with NaN, which the range filter'),
    'overlap': (split('000000\n000001\n'), {}, r'1 of 1 files of val_dataloader'),
}
INFOS = {
    'old format': (lambda content: [dict(annos={})], r'holds a list, the format before MMDetection3D 1\.1'),
    'other keys': (lambda content: dict(data=1), r"has no metainfo and data_list \('data'\)"),
    'no entries': (lambda content: dict(content, data_list=[]), r'has no entries in data_list'),
    'no path': (lambda content: content['data_list'][1].pop('lidar_points') and None, r'entry 1 .* no lidar_points\.l'),
    'out of date': (
        lambda content: content['data_list'][1]['lidar_points'].update(lidar_path='9.bin'),
        r"velodyne/9\.bin' does not exist \(1 of 2",
    ),
    'other order': (
        lambda content: content['metainfo'].update(categories=dict(Car=0, Pedestrian=2)),
        r"gives 'Car' the label 0, and the data set's type 2",
    ),
    'unknown label': (
        lambda content: content['data_list'][0]['instances'][0].update(bbox_label_3d=9),
        r'entry 0, instance 0 has the label 9, .* 8 classes: -1 to 7',
    ),
    'short box': (
        lambda content: content['data_list'][0]['instances'][0].update(bbox_3d=[1, 2, 3]),
        r'entry 0, instance 0 has no bbox_label_3d and bbox_3d of 7 numbers',
    ),
    'flat box': (
        lambda content: content['data_list'][0]['instances'][0].update(bbox_3d=[1, 2, 3, 0, 1, 1, 0]),
        r'entry 0, instance 0: Car has the size \[0\.0, 1\.0, 1\.0\]',
    ),
}


def check(tmp_path, change, **arguments):
    config = clouds_config(tmp_path, **arguments)
    if change:
        change(tmp_path, config)
    return check_data_files(config, ('train_dataloader',) if arguments else ('train_dataloader', 'val_dataloader'))


@pytest.mark.parametrize('name', REFUSED)
def test_clouds_that_would_fail_or_mislead_are_refused_in_one_sentence(tmp_path, name):
    change, arguments, sentence = REFUSED[name]
    with pytest.raises(ConfigError, match=sentence) as refusal:
        check(tmp_path, change, **arguments)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize('name', SILENT)
def test_valid_clouds_have_no_remark(tmp_path, name):
    change, arguments = SILENT[name]
    assert check(tmp_path, change, **arguments) == []


@pytest.mark.parametrize('name', REMARKED)
def test_suspicious_clouds_are_remarked(tmp_path, name):
    change, arguments, sentence = REMARKED[name]
    notes = check(tmp_path, change, **arguments)
    assert any(re.search(sentence, note) for note in notes), notes


@pytest.mark.parametrize('name', INFOS)
def test_info_files_of_mmdetection3d(tmp_path, name):
    change, sentence = INFOS[name]
    clouds_config(tmp_path)
    content = infos(tmp_path)
    changed = change(content)
    with pytest.raises(ConfigError, match=sentence):
        check_data_files(infos_config(tmp_path, content if changed is None else changed))


def test_valid_info_files(tmp_path):
    assert check_data_files(infos_config(tmp_path)) == []
    with pytest.raises(
        ConfigError, match=r"holds 'Pallet', and KittiDataset knows 8 .*'kd_plugins\.KittiFolder' takes"
    ):
        check_data_files(infos_config(tmp_path, classes=('Pallet',)))
    config = infos_config(tmp_path)
    (tmp_path / 'infos.pkl').write_bytes((tmp_path / 'infos.pkl').read_bytes()[:50])
    with pytest.raises(ConfigError, match=r'is not a readable info file'):
        check_data_files(config)


def test_own_classes_reach_the_labels(tmp_path):
    from mmengine.registry import DATASETS, init_default_scope

    init_default_scope('mmdet3d')
    config = clouds_config(tmp_path, ('Pallet', 'Car'))
    (tmp_path / 'label_2/000000.txt').write_text(row() + row('Pallet') + row('Van'))
    dataset = DATASETS.build(dict(config.train_dataloader.dataset, pipeline=[]))
    assert dataset.get_data_info(0)['ann_info']['gt_labels_3d'].tolist() == [1, 0]
    assert dataset.metainfo['classes'] == ('Pallet', 'Car')
    assert dataset.metainfo['categories']['Pallet'] == 8


@pytest.mark.parametrize('frames', [slice(0, 1), slice(None, None, -1)])
def test_the_evaluator_reads_the_frames_of_the_data_set(tmp_path, frames):
    config = infos_config(tmp_path)
    config.val_dataloader = dict(dataset=dict(config.train_dataloader.dataset, test_mode=True))
    content = infos(tmp_path)
    for name in ('same.pkl', 'other.pkl'):
        listed = content['data_list'] if name == 'same.pkl' else content['data_list'][frames]
        (tmp_path / name).write_bytes(pickle.dumps(dict(content, data_list=listed)))
    config.val_evaluator = dict(type='KittiMetric', ann_file=str(tmp_path / 'same.pkl'))
    check_data_files(config, ('val_dataloader',))
    config.val_evaluator.ann_file = str(tmp_path / 'other.pkl')
    with pytest.raises(
        ConfigError, match=r"val_evaluator\.ann_file: '.*other\.pkl' .* differ from frame [01] on; nearest: v"
    ):
        check_data_files(config, ('val_dataloader',))


def test_a_test_set_without_labels_may_be_formatted(tmp_path):
    config, content = infos_config(tmp_path), infos(tmp_path)
    for entry in content['data_list']:
        entry['instances'] = []
    (tmp_path / 'test.pkl').write_bytes(pickle.dumps(content))
    config.val_dataloader = dict(dataset=dict(config.train_dataloader.dataset, ann_file='test.pkl', test_mode=True))
    config.val_evaluator = dict(type='KittiMetric', ann_file=str(tmp_path / 'test.pkl'))
    with pytest.raises(ConfigError, match='holds no object of them'):
        check_data_files(config, ('val_dataloader',))
    config.val_evaluator.format_only = True
    assert check_data_files(config, ('val_dataloader',)) == []
