# MMDetection3D's SECOND on KITTI, taught by the moving average of itself, on both maps of its backbone. Its sparse
# convolutions need a GPU.
_base_ = 'mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=2e-4, mode='extract_feat'),
        distillers=dict(
            local=dict(
                type='kd_plugins.LocalGraphDistiller',
                student_tap='backbone',
                points='grid',
                importance='max',
                num_points=256,
                num_neighbours=128,
                channels=32,
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=1000),
            ),
        ),
    ),
)
