"""KITTI's folders through MMDetection3D's data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kd_plugins.datasets import kitti_folder
from tests.datasets.kitti_files import REAL, write_frames

structures = pytest.importorskip('mmdet3d.structures')


def test_labels_are_read_in_training_alone(tmp_path: Path) -> None:
    write_frames(tmp_path)
    (tmp_path / 'split.txt').write_text('000007\n')
    classes = dict(classes=('Pedestrian', 'Cyclist', 'Car'))
    training = kitti_folder(data_root=str(tmp_path), ann_file=str(tmp_path / 'split.txt'), metainfo=classes)
    assert len(training) == 1 and training.get_data_info(0)['ann_info']['gt_labels_3d'].tolist() == [2]
    for label in (tmp_path / 'label_2').iterdir():
        label.unlink()
    (tmp_path / 'label_2').rmdir()
    assert len(kitti_folder(data_root=str(tmp_path), metainfo=classes, test_mode=True)) == 2


def test_real_frames_through_mmdetection3d() -> None:
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
