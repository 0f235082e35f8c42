# The PointRCNN with a quarter of the channels, taught by the published one, as in PointDistiller's release.
_base_ = ['./point-rcnn_x16_8xb2_kitti-3d-3class.py', '../_base_/distill/kitti_point_graph.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(local=dict(channels=32, **_base_.local_graph)),
    )
)
