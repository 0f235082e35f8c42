# MMDetection3D's PointPillars on KITTI, taught by the moving average of itself. For a wider or a finished teacher, put
# kd_plugins.FrozenTeacher with its config and checkpoint in the place of the average. Trains on a CPU as well.
_base_ = [
    'mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py',
    '../_base_/distill/ema_local_graph.py',
]
default_hooks = dict(
    distill=dict(
        distillers=dict(
            local=dict(
                student_tap='voxel_encoder', points='voxel', importance='count', num_points=6000, **_base_.local_graph
            ),
        ),
        **_base_.distill,
    ),
)
# MMDetection3D's own metric needs CUDA; this one gives the same numbers anywhere.
val_evaluator = dict(
    _delete_=True,
    type='kd_plugins.LidarAPMetric',
    ann_file='data/kitti/kitti_infos_val.pkl',
    limit_range=[0, -40, -3, 70.4, 40, 0.0],
)
test_evaluator = val_evaluator
