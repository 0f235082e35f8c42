# MMDetection3D's PointPillars on KITTI with a quarter of the channels, a sixteenth of its computation.
_base_ = './pointpillars_x4_8xb6-160e_kitti-3d-3class.py'
model = dict(
    voxel_encoder=dict(feat_channels=[16]),
    middle_encoder=dict(in_channels=16),
    backbone=dict(in_channels=16, out_channels=[16, 32, 64]),
    neck=dict(in_channels=[16, 32, 64], out_channels=[32, 32, 32]),
    bbox_head=dict(in_channels=96, feat_channels=96),
)
