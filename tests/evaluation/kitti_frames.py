"""Random KITTI frames, and MMDetection3D's own metric on them: ``python kitti_frames.py FRAMES.json`` prints it.

Its rotated overlaps are CUDA kernels; with NUMBA_ENABLE_CUDASIM=1 Numba runs them on a CPU, unchanged.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

CATEGORIES = ('Pedestrian', 'Cyclist', 'Car', 'Van', 'Truck', 'Person_sitting', 'Tram', 'Misc')
CLASSES = ('Pedestrian', 'Cyclist', 'Car')
SIZES = {'Pedestrian': (0.8, 1.73, 0.6), 'Person_sitting': (0.8, 1.3, 0.6), 'Cyclist': (1.76, 1.73, 0.6)}
# A camera that is turned a little against the LiDAR, as real ones are.
LIDAR2CAM = [[0.01, -0.99995, 0.0, 0.05], [0.0, 0.0, -1.0, -0.07], [0.99995, 0.01, 0.0, -0.27], [0.0, 0.0, 0.0, 1.0]]
CAM2IMG = [[700.0, 0.0, 600.0, 40.0], [0.0, 700.0, 180.0, 0.2], [0.0, 0.0, 1.0, 0.003], [0.0, 0.0, 0.0, 1.0]]
SIZE = (1242, 375)


def lidar_boxes(labels: np.ndarray) -> np.ndarray:
    """KITTI's boxes (x, y, z, l, h, w, ry) at the camera as (x, y, z, l, w, h, yaw) at the LiDAR."""
    points = np.concatenate([labels[:, :3], np.ones((len(labels), 1))], axis=1) @ np.linalg.inv(LIDAR2CAM).T
    return np.concatenate([points[:, :3], labels[:, [3, 5, 4]], -labels[:, 6:] - np.pi / 2], axis=1)


def random_frame(rng: np.random.Generator, objects: int = 24, others: int = 10) -> dict[str, Any]:
    """One frame with objects of all classes and DontCare areas, and detections near them and elsewhere."""
    names = rng.choice([*CLASSES, *CLASSES, 'Van', 'Truck', 'Person_sitting', 'DontCare'], objects)
    size = np.array([SIZES.get(name, (3.9, 1.56, 1.6)) for name in names]) * rng.uniform(0.9, 1.1, (objects, 3))
    place = np.stack(
        [rng.uniform(-12, 12, objects), rng.uniform(1.4, 1.8, objects), rng.uniform(8, 50, objects)], axis=1
    )
    labels = np.concatenate([place, size, rng.uniform(-3.1, 3.1, (objects, 1))], axis=1)
    labels[names == 'DontCare', :3] = -1000.0
    labels[names == 'DontCare', 3:6] = -1.0
    top = rng.uniform(100, 200, objects)
    image = np.stack([rng.uniform(0, 600, objects), top, rng.uniform(620, 1200, objects), top], axis=1)
    image[:, 3] += rng.uniform(20, 110, objects)
    instances = [
        {
            'bbox_label': CATEGORIES.index(name) if name in CATEGORIES else -1,
            'bbox_3d': label.tolist(),
            'bbox': box.round(2).tolist(),
            'occluded': int(rng.choice([0, 0, 0, 1, 2, 3])),
            'truncated': float(rng.choice([0.0, 0.0, 0.0, 0.2, 0.4, 0.6])),
            'alpha': 0.0,
            'score': 0.0,
        }
        for name, label, box in zip(names, labels, image)
    ]
    # Up to two detections near an object, some of another class, and some at random.
    near = np.flatnonzero((names != 'DontCare') & (rng.random(objects) < 0.8))
    near = np.concatenate([near, near[rng.random(len(near)) < 0.4]])
    moved = labels[near] + rng.normal(0, 1, (len(near), 7)) * [0.12, 0.05, 0.12, 0.05, 0.05, 0.05, 0.05]
    wild = labels[rng.choice(np.flatnonzero(names != 'DontCare'), others)]
    wild = wild + rng.normal(0, 1, (others, 7)) * [4, 0.1, 4, 0.2, 0.1, 0.1, 1]
    guessed = [
        CLASSES.index(name) if name in CLASSES and rng.random() < 0.9 else rng.integers(3) for name in names[near]
    ]
    return {
        'instances': instances,
        'images': {'CAM2': dict(lidar2cam=LIDAR2CAM, cam2img=CAM2IMG, width=SIZE[0], height=SIZE[1])},
        'boxes': lidar_boxes(np.concatenate([moved, wild])).tolist(),
        'labels': np.concatenate([guessed, rng.integers(0, 3, others)]).tolist(),
        'scores': rng.uniform(0.1, 1.0, len(near) + others).round(2).tolist(),
    }


def random_frames(seed: int, frames: int, objects: int = 24) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [random_frame(rng, objects) for _ in range(frames)]


def infos(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """The frames as MMDetection3D's converter writes them."""
    metainfo = {'categories': {name: index for index, name in enumerate(CATEGORIES)} | {'DontCare': -1}}
    entries = [dict(sample_idx=index, instances=f['instances'], images=f['images']) for index, f in enumerate(frames)]
    return {'metainfo': metainfo, 'data_list': entries}


def data_samples(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the evaluator is given for them: the boxes in float32, as detectors predict them."""
    import torch
    from mmdet3d.structures import LiDARInstance3DBoxes

    return [
        {
            'sample_idx': index,
            'pred_instances': {},
            'pred_instances_3d': {
                'bboxes_3d': LiDARInstance3DBoxes(torch.tensor(frame['boxes']).reshape(-1, 7)),
                'scores_3d': torch.tensor(frame['scores']),
                'labels_3d': torch.tensor(frame['labels'], dtype=torch.long),
            },
        }
        for index, frame in enumerate(frames)
    ]


def main(path: str) -> None:
    from mmdet3d.evaluation import KittiMetric

    with open(path, encoding='utf-8') as file:
        frames = json.load(file)
    with open(f'{path}.infos.json', 'w', encoding='utf-8') as file:
        json.dump(infos(frames), file)
    metric = KittiMetric(ann_file=f'{path}.infos.json')
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, data_samples(frames))
    print('VALUES', json.dumps(metric.evaluate(len(frames))))


if __name__ == '__main__':
    main(sys.argv[1])
