# The second task, with the pyramid of the first one's detector as the teacher of the new pyramid (FeatKD).
_base_ = ['./gfl_r18w32_bccd_platelets.py', '../_base_/distill/frozen_gfl_bccd_cells.py']
default_hooks = dict(
    distill=dict(
        _base_.distill,
        teacher=dict(_base_.distill.teacher, mode='extract_feat'),
        distillers=dict(
            pyramid=dict(type='kd_plugins.FeatureDistiller', student_tap='neck.fpn_convs.*', kind='mse', weight=0.5)
        ),
    )
)
