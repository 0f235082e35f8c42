# The half-width GFL on BCCD, taught edge distributions and class scores by the small one: train gfl_r18_bccd.py first,
# in the same working folder, or let the environment variable BCCD_TEACHER name a checkpoint.
_base_ = ['./gfl_r18w32_bccd.py', '../_base_/distill/frozen_gfl-r18_bccd.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            localization=dict(
                type='kd_plugins.LocalizationDistiller',
                temperature=5.0,
                weight=dict(type='kd_plugins.LinearWarmup', value=1.5, end=100),
            ),
            logits=dict(
                type='kd_plugins.LogitDistiller',
                logits='bbox_head.gfl_cls',
                activation='sigmoid',
                weight=dict(type='kd_plugins.LinearWarmup', value=1.0, end=100),
            ),
        ),
    )
)
