# The student, taught by the finished teacher: the local graphs of the 1000 pillars with the most points.
# Train pointpillars_scenes.py first, in the same working folder, or let SCENES_TEACHER name a checkpoint.
_base_ = ['./pointpillars_x4_scenes.py', '../_base_/distill/pillar_graph.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::local_graph/pointpillars_scenes.py',
            checkpoint='{{$SCENES_TEACHER:work_dirs/pointpillars_scenes/epoch_12.pth}}',
            mode='extract_feat',
        ),
        distillers=dict(local=dict(num_points=1000, **_base_.pillar_graph)),
    ),
)
