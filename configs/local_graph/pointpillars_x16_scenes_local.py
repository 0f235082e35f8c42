# The smallest student, taught by the converged teacher: local graphs of all maps of the backbone.
# Train pointpillars_scenes_24e.py first, in the same working folder, or let SCENES_TEACHER name a checkpoint.
_base_ = ['./pointpillars_x16_scenes.py', '../_base_/distill/backbone_graph.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::local_graph/pointpillars_scenes.py',
            checkpoint='{{$SCENES_TEACHER:work_dirs/pointpillars_scenes_24e/epoch_24.pth}}',
            mode='extract_feat',
        ),
        distillers=dict(graph=_base_.backbone_graph),
    ),
)
