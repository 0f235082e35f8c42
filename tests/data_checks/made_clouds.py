"""Small KITTI folders and info files for the tests of the data checks."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

RANGE = [0, -40, -3, 70, 40, 1]
CALIBRATION = (
    'P2: 700 0 600 40 0 700 180 0.2 0 0 1 0.003\nR0_rect: 1 0 0 0 1 0 0 0 1\n'
    'Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n'
)
DONTCARE = 'DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n'


def row(name: str = 'Car', size: str = '1.5 1.6 3.9', place: str = '2 1 20') -> str:
    """Return a line of ``label_2``."""
    return f'{name} 0 0 0 600 150 700 220 {size} {place} 0\n'


def points(path: Path, rows: Any = None) -> None:
    """Write a cloud of four columns, by default in front of the LiDAR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    default = np.array([[10, 0, -1, 0.5], [20, 3, 0, 0.1], [30, -5, -2, 0.2]])
    np.asarray(default if rows is None else rows, np.float32).tofile(path)


def clouds_config(root: Path, classes: tuple[str, ...] = ('Car',), **dataset: Any) -> Config:
    """Write two frames in KITTI's folders; return the config that trains and validates on one each."""
    for name in ('000000', '000001'):
        points(root / 'velodyne' / f'{name}.bin')
        for folder, text in (('calib', CALIBRATION), ('label_2', row() + DONTCARE)):
            (root / folder).mkdir(exist_ok=True)
            (root / folder / f'{name}.txt').write_text(text)
    (root / 'train.txt').write_text('000000\n')
    (root / 'val.txt').write_text('000001\n')
    load = dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4)
    filters = [dict(type=f'{name}RangeFilter', point_cloud_range=RANGE) for name in ('Points', 'Object')]
    node = dict(type='kd_plugins.KittiFolder', data_root=str(root), metainfo=dict(classes=classes))
    node.update(pipeline=[load, *filters], **dataset)
    return Config(
        dict(
            default_scope='mmdet3d',
            train_dataloader=dict(dataset=dict(node, ann_file='train.txt')),
            val_dataloader=dict(dataset=dict(node, ann_file='val.txt', test_mode=True)),
            val_evaluator=dict(type='kd_plugins.LidarAPMetric'),
        )
    )


def infos(root: Path) -> dict[str, Any]:
    """Return the info file of both frames as ``KittiFolder`` makes it."""
    from kd_plugins.datasets.kitti_infos import kitti_infos

    return kitti_infos(root, ['000000', '000001'])


def infos_config(root: Path, content: Any = None, **arguments: Any) -> Config:
    """Return the config of MMDetection3D's ``KittiDataset`` that trains on an info file of the frames."""
    config = clouds_config(root, **arguments)
    (root / 'infos.pkl').write_bytes(pickle.dumps(infos(root) if content is None else content))
    train = config.train_dataloader.dataset
    train.update(type='KittiDataset', ann_file='infos.pkl', data_prefix=dict(pts='velodyne'))
    config.pop('val_dataloader')
    return config
