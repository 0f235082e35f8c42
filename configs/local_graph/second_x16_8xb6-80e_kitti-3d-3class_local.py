# The SECOND with a quarter of the channels, taught by the published one, as in PointDistiller's release.
_base_ = ['./second_x16_8xb6-80e_kitti-3d-3class.py', '../_base_/distill/kitti_backbone_graph.py']
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(type='kd_plugins.DistillHook', teacher=_base_.teacher, distillers=dict(local=_base_.local_graph))
)
