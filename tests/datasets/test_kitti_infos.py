"""Entries of KITTI's frames: equal to those of MMDetection3D's converter, and damaged files."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from kd_plugins.datasets.kitti_infos import CATEGORIES, USUAL_SIZE, frame_names, kitti_infos
from kd_plugins.errors import ConfigError
from tests.datasets.kitti_files import REAL, write_frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_frames(tmp_path)


def test_entries(folder: Path) -> None:
    infos = kitti_infos(folder, frame_names(folder))
    assert [entry['lidar_points']['lidar_path'] for entry in infos['data_list']] == ['000004.bin', '000007.bin']
    first, second = (entry['images']['CAM2'] for entry in infos['data_list'])
    assert (first['width'], first['height']) == USUAL_SIZE and (second['width'], second['height']) == (1224, 370)
    car, ignored = infos['data_list'][0]['instances']
    assert car['bbox_label'] == infos['metainfo']['categories']['Car'] == 2 and ignored['bbox_label'] == -1
    # The file has height, width, length; the entry length, height, width.
    assert car['bbox_3d'] == [-16.53, 2.39, 58.49, 3.69, 1.67, 1.87, 1.57]
    assert (car['truncated'], car['occluded'], car['alpha']) == (0.1, 1, 1.85)
    assert car['bbox'] == [387.63, 181.54, 423.81, 203.12]
    np.testing.assert_allclose(np.array(first['cam2img']) @ first['lidar2cam'], first['lidar2img'])


def test_an_image_of_another_format_is_refused(folder: Path) -> None:
    (folder / 'image_2' / '000004.jpg').write_bytes(b'')
    with pytest.raises(ConfigError, match=r"000004.jpg' is not read; convert it to '000004.png', or remove image_2"):
        kitti_infos(folder, frame_names(folder))


def test_a_file_names_the_frames(folder: Path) -> None:
    (folder / 'split.txt').write_text('000007\n')
    assert frame_names(folder, str(folder / 'split.txt')) == ['000007']


def test_real_frames_equal_what_mmdetection3ds_converter_reads() -> None:
    pytest.importorskip('skimage')
    package = find_spec('mmdet3d')
    tool = Path(package.origin or '').parent / '.mim/tools/dataset_converters/kitti_data_utils.py' if package else None
    if tool is None or not tool.is_file() or not REAL.is_dir():
        pytest.skip(f"MMDetection3D's converter or {REAL} is not there")
    spec = spec_from_file_location('kitti_data_utils', tool)
    assert spec is not None and spec.loader is not None
    converter = module_from_spec(spec)
    spec.loader.exec_module(converter)
    expected = converter.get_kitti_image_info(
        str(REAL.parent), velodyne=True, calib=True, image_ids=[0, 1, 2], num_worker=1
    )
    actual = kitti_infos(REAL, frame_names(REAL))['data_list']
    assert len(actual) == len(expected) == 3
    for entry, converted in zip(actual, expected):
        camera, calibration, objects = entry['images']['CAM2'], converted['calib'], converted['annos']
        assert (camera['height'], camera['width']) == tuple(converted['image']['image_shape'])
        np.testing.assert_allclose(camera['cam2img'], calibration['P2'])
        np.testing.assert_allclose(camera['lidar2cam'], calibration['R0_rect'] @ calibration['Tr_velo_to_cam'])
        boxes = [objects['location'], objects['dimensions'], objects['rotation_y'][:, None]]
        np.testing.assert_allclose(
            [instance['bbox_3d'] for instance in entry['instances']], np.concatenate(boxes, axis=1)
        )
        for name in ('bbox', 'truncated', 'occluded', 'alpha'):
            np.testing.assert_allclose([instance[name] for instance in entry['instances']], objects[name])
        names = [CATEGORIES[i['bbox_label']] if i['bbox_label'] >= 0 else 'DontCare' for i in entry['instances']]
        assert names == objects['name'].tolist()


def test_damaged_folders_are_one_sentence(folder: Path) -> None:
    (folder / 'image_2' / '000004.png').write_bytes(b'JPEG?')
    with pytest.raises(ConfigError, match=r"000004.png' is not a PNG file"):
        kitti_infos(folder, ['000004'])
    with pytest.raises(ConfigError, match=r"velodyne/000009.bin' does not exist; each frame needs 3 files"):
        kitti_infos(folder, ['000009'])
    (folder / 'label_2' / '000007.txt').write_text('Car 0 0 1\n')
    with pytest.raises(ConfigError, match=r"000007.txt' line 1 has 4 fields; valid: KITTI's 15"):
        kitti_infos(folder, ['000007'])
    assert kitti_infos(folder, ['000007'], with_labels=False)['data_list'][0]['instances'] == []
    (folder / 'calib' / '000007.txt').write_text('P2: 1 2 3\n')
    with pytest.raises(ConfigError, match=r'has no P2 of 3x4 numbers'):
        kitti_infos(folder, ['000007'], with_labels=False)
    with pytest.raises(ConfigError, match=r"split.txt' does not exist; valid: a text file of frame names"):
        frame_names(folder, str(folder / 'split.txt'))
    with pytest.raises(ConfigError, match='KittiFolder: no frames in'):
        frame_names(folder / 'calib')
