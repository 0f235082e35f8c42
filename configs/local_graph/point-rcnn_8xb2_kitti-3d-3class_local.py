# MMDetection3D's PointRCNN on KITTI, taught by the moving average of itself, on the features of all its points. Its
# sampling and grouping of points need a GPU.
_base_ = 'mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(type='kd_plugins.EMATeacher', momentum=2e-4, mode='extract_feat'),
        distillers=dict(
            local=dict(
                type='kd_plugins.LocalGraphDistiller',
                student_tap='neck',
                points='point',
                importance='max',
                num_points=6000,
                num_neighbours=128,
                channels=32,
                pool=True,
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=1000),
            ),
        ),
    ),
)
