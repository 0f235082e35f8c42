# MMDetection3D's PointPillars on KITTI with half the channels, a quarter of its computation. Trains on a CPU as well.
_base_ = 'mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
model = dict(
    voxel_encoder=dict(feat_channels=[32]),
    middle_encoder=dict(in_channels=32),
    backbone=dict(in_channels=32, out_channels=[32, 64, 128]),
    neck=dict(in_channels=[32, 64, 128], out_channels=[64, 64, 64]),
    bbox_head=dict(in_channels=192, feat_channels=192),
)
# MMDetection3D's own metric needs CUDA; this one gives the same numbers anywhere.
val_evaluator = dict(
    _delete_=True,
    type='kd_plugins.LidarAPMetric',
    ann_file='data/kitti/kitti_infos_val.pkl',
    limit_range=[0, -40, -3, 70.4, 40, 0.0],
)
test_evaluator = val_evaluator
