"""Generated point clouds: boxes that contain points, and settings that come from the config."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from kd_plugins.config.gpu_only import needs_gpu
from kd_plugins.errors import ConfigError
from kd_plugins.testing import use_generated_data
from kd_plugins.utils.device import has_accelerator

RANGE = [0, -40, -3, 70.4, 40, 1]


def lidar_config(**model: object) -> Config:
    pipeline = [
        dict(type='LoadPointsFromFile', load_dim=5, use_dim=[0, 1, 2, 4]),
        dict(type='PointSample', num_points=1200),
        dict(type='PointsRangeFilter', point_cloud_range=RANGE),
    ]
    dataset = dict(type='KittiDataset', ann_file='', metainfo=dict(classes=['Car', 'Tram']), pipeline=pipeline)
    return Config(dict(default_scope='mmdet3d', model=dict(model), train_dataloader=dict(dataset=dataset)))


def test_clouds_follow_the_config() -> None:
    config = lidar_config(type='VoxelNet', bbox_head=dict(bbox_coder=dict(code_size=9)))
    use_generated_data(config, batch_size=3)
    dataset = config.train_dataloader.dataset
    assert dataset.point_cloud_range == RANGE and list(dataset.classes) == ['Car', 'Tram']
    assert (dataset.num_points, dataset.point_dim, dataset.box_dim) == (1200, 4, 9)
    other = lidar_config(data_preprocessor=dict(voxel_layer=dict(point_cloud_range=[-1, -1, -1, 1, 1, 1])))
    use_generated_data(other)
    assert other.train_dataloader.dataset.point_cloud_range == [-1, -1, -1, 1, 1, 1]


def test_clouds_lie_in_the_range_and_boxes_contain_points() -> None:
    structures = pytest.importorskip('mmdet3d.structures')
    from kd_plugins.testing.lidar import GeneratedLidar

    data = GeneratedLidar(('Pedestrian', 'Cyclist', 'Car'), RANGE, num_points=1200, num_items=3, length=7)
    assert len(data) == 7
    for index in range(3):
        item = data[index]
        points, instances = item['inputs']['points'], item['data_samples'].gt_instances_3d
        assert points.shape == (1200, 4) and torch.equal(points, data[index + 3]['inputs']['points'])
        low, high = torch.tensor(RANGE, dtype=torch.float32).view(2, 3)
        assert ((points[:, :3] >= low) & (points[:, :3] <= high)).all()
        assert isinstance(instances.bboxes_3d, structures.LiDARInstance3DBoxes)
        assert instances.labels_3d.tolist() == [0, 1, 2, 0, 1, 2]
        for x, y, z, length, width, height, yaw in instances.bboxes_3d.tensor.tolist():
            cos, sin = torch.tensor(yaw).cos(), torch.tensor(yaw).sin()
            right, ahead = points[:, 0] - x, points[:, 1] - y
            inside = ((cos * right + sin * ahead).abs() <= length / 2 + 1e-3) & (
                (cos * ahead - sin * right).abs() <= width / 2 + 1e-3
            )
            inside &= (points[:, 2] >= z - 1e-3) & (points[:, 2] <= z + height + 1e-3)
            assert inside.sum() >= 1200 // 3 // 6
    first = data[0]['inputs']['points']
    first.zero_()  # as an encoder that writes into its input
    assert data[0]['inputs']['points'].abs().sum() > 0
    with_velocity = GeneratedLidar(('Car',), RANGE, box_dim=9)[0]['data_samples'].gt_instances_3d.bboxes_3d
    assert with_velocity.tensor.shape == (2, 9)


@pytest.mark.skipif(has_accelerator(), reason='this machine has an accelerator')
def test_models_that_need_a_gpu_are_refused() -> None:
    sparse = lidar_config(type='VoxelNet', middle_encoder=dict(type='mmdet3d.SparseEncoder'))
    sentence = 'model.middle_encoder is SparseEncoder, whose sparse convolution needs a GPU, and there is none'
    assert needs_gpu(sparse) == sentence
    with pytest.raises(ConfigError, match=f'^generated data: {sentence}'):
        use_generated_data(sparse)
    assert needs_gpu(lidar_config(type='PointRCNN', backbone=dict(type='PointNet2SAMSG'))).startswith('model.backbone')
    assert needs_gpu(lidar_config(type='VoxelNet')) == ''


def test_detectors_on_images_are_refused() -> None:
    config = Config(dict(default_scope='mmdet3d', model=dict(type='FCOSMono3D'), train_dataloader=dict(dataset={})))
    with pytest.raises(ConfigError, match='neither model nor train_dataloader has a point_cloud_range'):
        use_generated_data(config)
