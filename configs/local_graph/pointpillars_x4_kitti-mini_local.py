# The run with half the channels, taught by the one with all: the local graphs of the 1500 pillars with the most points.
# Train pointpillars_kitti-mini.py first, in the same working folder, or let KITTI_TEACHER name a checkpoint.
_base_ = ['./pointpillars_x4_kitti-mini.py', '../_base_/distill/pillar_graph.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::local_graph/pointpillars_kitti-mini.py',
            checkpoint='{{$KITTI_TEACHER:work_dirs/pointpillars_kitti-mini/epoch_15.pth}}',
            mode='extract_feat',
        ),
        distillers=dict(local=dict(num_points=1500, **_base_.pillar_graph)),
    ),
)
