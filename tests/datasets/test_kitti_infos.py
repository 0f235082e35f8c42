"""KITTI's folders as a data set: MMDetection3D's own entries, the camera's view, and damaged files."""

from __future__ import annotations

import struct
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from kd_plugins.datasets import CameraView, kitti_folder
from kd_plugins.datasets.kitti_infos import CATEGORIES, USUAL_SIZE, frame_names, kitti_infos
from kd_plugins.errors import ConfigError

REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'kitti' / 'training'
LABEL = 'Car 0.10 1 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n'
CALIBRATION = (
    'P0: ' + ' '.join(['1'] * 12) + '\nP2: 700 0 600 40 0 700 180 0.2 0 0 1 0.003\n'
    'R0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: 0 -1 0 0.1 0 0 -1 -0.2 1 0 0 -0.3\n\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ('velodyne', 'calib', 'label_2', 'image_2'):
        (tmp_path / name).mkdir()
    for frame in ('000007', '000004'):
        np.ones((5, 4), np.float32).tofile(tmp_path / 'velodyne' / f'{frame}.bin')
        (tmp_path / 'calib' / f'{frame}.txt').write_text(CALIBRATION)
        (tmp_path / 'label_2' / f'{frame}.txt').write_text(LABEL + LABEL.replace('Car', 'DontCare') + '\n')
    header = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR' + struct.pack('>II', 1224, 370)
    (tmp_path / 'image_2' / '000007.png').write_bytes(header)
    return tmp_path


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
    found = kitti_infos(REAL, frame_names(REAL))['data_list']
    assert len(found) == len(expected) == 3
    for mine, theirs in zip(found, expected):
        camera, calibration, objects = mine['images']['CAM2'], theirs['calib'], theirs['annos']
        assert (camera['height'], camera['width']) == tuple(theirs['image']['image_shape'])
        np.testing.assert_allclose(camera['cam2img'], calibration['P2'])
        np.testing.assert_allclose(camera['lidar2cam'], calibration['R0_rect'] @ calibration['Tr_velo_to_cam'])
        boxes = [objects['location'], objects['dimensions'], objects['rotation_y'][:, None]]
        np.testing.assert_allclose(
            [instance['bbox_3d'] for instance in mine['instances']], np.concatenate(boxes, axis=1)
        )
        for name in ('bbox', 'truncated', 'occluded', 'alpha'):
            np.testing.assert_allclose([instance[name] for instance in mine['instances']], objects[name])
        names = [CATEGORIES[i['bbox_label']] if i['bbox_label'] >= 0 else 'DontCare' for i in mine['instances']]
        assert names == objects['name'].tolist()


def test_real_frames_through_mmdetection3d() -> None:
    structures = pytest.importorskip('mmdet3d.structures')
    if not REAL.is_dir():
        pytest.skip(f'{REAL} is not there')
    data = kitti_folder(
        data_root=str(REAL),
        metainfo=dict(classes=('Pedestrian', 'Cyclist', 'Car')),
        pipeline=[
            dict(type='mmdet3d.LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
            dict(type='kd_plugins.CameraView'),
            dict(type='mmdet3d.LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
            dict(type='mmdet3d.Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
        ],
    )
    assert len(data) == 3 and data.metainfo['categories']['Van'] == 3
    objects = []
    for index in range(3):
        item = data[index]
        points, instances = item['inputs']['points'], item['data_samples'].gt_instances_3d
        # A camera of 81 degrees sees about a sixth of a turn with the beams that look ahead of the car.
        assert 0.1 < len(points) / (REAL / 'velodyne' / f'{index:06d}.bin').stat().st_size * 16 < 0.25
        assert isinstance(instances.bboxes_3d, structures.LiDARInstance3DBoxes)
        objects += instances.labels_3d.tolist()
        # Every object holds points: calibration, boxes and cloud belong together.
        points = points.double()
        for box in instances.bboxes_3d.tensor:
            x, y, z, length, width, height, yaw = box.tolist()
            shift = points[:, :2] - torch.tensor([x, y], dtype=torch.float64)
            cos, sin = np.cos(yaw), np.sin(yaw)
            inside = ((shift @ torch.tensor([cos, sin], dtype=torch.float64)).abs() < length / 2) & (
                (shift @ torch.tensor([-sin, cos], dtype=torch.float64)).abs() < width / 2
            )
            inside &= (points[:, 2] > z) & (points[:, 2] < z + height)
            assert inside.sum() >= 5
    assert sorted(objects) == [0, 1, 2, 2]


def test_the_view_of_a_camera() -> None:
    class Cloud:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def __getitem__(self, rows: torch.Tensor) -> Cloud:
            return Cloud(self.tensor[rows])

    # x ahead, y left, z up; a camera of 100 x 50 pixels looks ahead with focal length 50.
    lidar2img = [[50, -50, 0, 0], [25, 0, -50, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    view = dict(lidar2img=lidar2img, width=100, height=50)
    points = [[2, 0, 0], [-2, 0, 0], [2, 1.9, 0], [2, 2.1, 0], [2, -1.9, 0], [2, -2.1, 0], [2, 0, 0.9], [2, 0, 1.1]]
    results = {'images': {'CAM2': view}, 'points': Cloud(torch.tensor(points, dtype=torch.float32))}
    kept = CameraView()(results)['points'].tensor
    assert kept.tolist() == torch.tensor(points)[[0, 2, 4, 6]].tolist()


def test_damaged_folders_are_one_sentence(folder: Path) -> None:
    (folder / 'image_2' / '000004.png').write_bytes(b'JPEG?')
    with pytest.raises(ConfigError, match=r"000004.png' is no PNG file"):
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
