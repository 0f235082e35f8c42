# MMDetection3D's PointRCNN on KITTI, taught by the moving average of itself, on the features of all its points. Its
# sampling and grouping of points need a GPU.
_base_ = ['mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py', '../_base_/distill/ema_local_graph.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            local=dict(
                student_tap='neck', points='point', importance='max', num_points=6000, pool=True, **_base_.local_graph
            ),
        ),
        **_base_.distill,
    ),
)
