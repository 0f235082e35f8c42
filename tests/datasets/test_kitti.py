"""KITTI's registered data set and the view of its camera."""

from __future__ import annotations

import sys

import pytest
import torch

from kd_plugins.datasets import CameraView, kitti_folder
from kd_plugins.errors import MissingDependencyError


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


def test_missing_mmdetection3d_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, 'kd_plugins.datasets.kitti_dataset', raising=False)
    monkeypatch.setitem(sys.modules, 'mmdet3d', None)
    monkeypatch.setitem(sys.modules, 'mmdet3d.datasets', None)
    with pytest.raises(MissingDependencyError, match=r"KittiFolder: '\S+' is not installed \(extra 'det3d'\)"):
        kitti_folder(data_root='anywhere')
