# The PointPillars with a quarter of the channels, taught by the published one, as in PointDistiller's release.
_base_ = ['./pointpillars_x16_8xb6-160e_kitti-3d-3class.py', '../_base_/distill/kitti_pillar_graph.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(local=dict(channels=16, **_base_.local_graph)),
    )
)
