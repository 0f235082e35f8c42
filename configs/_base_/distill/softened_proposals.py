# PS-KD (arXiv 2006.12000) for the second stage of two-stage detectors: the target of a proposal is (1 - a) label + a
# prediction of the network of one epoch ago, and a grows from 0 to 0.8 over the run.
softened = dict(
    type='kd_plugins.DistillHook',
    teacher=dict(type='kd_plugins.SnapshotTeacher', epochs=1),
    task_weight={'loss_cls': dict(type='kd_plugins.LinearDecay', value=1.0, end_value=0.2)},
    distillers=dict(
        targets=dict(
            type='kd_plugins.RoIDistiller',
            divergence='kl',
            reg=False,
            weight=dict(type='kd_plugins.LinearWarmup', value=0.8),
        )
    ),
)
