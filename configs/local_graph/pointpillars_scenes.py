# The teacher: a small PointPillars from scratch on generated LiDAR scenes.
_base_ = [
    '../_base_/models/pointpillars_small.py',
    '../_base_/datasets/lidar_scenes.py',
    '../_base_/schedules/lidar_12e.py',
    '../_base_/runtime_det3d.py',
]
