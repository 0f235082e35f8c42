# The second task, with the detector of the first one as the teacher of the old classes' scores (PredKD): binary
# cross-entropy between its probabilities and those of the same classes in the wider head.
# The factor outweighs the task's own loss, which takes the unlabelled cells for background.
_base_ = ['./gfl_r18w32_bccd_platelets.py', '../_base_/distill/frozen_gfl_bccd_cells.py']
default_hooks = dict(
    distill=dict(
        _base_.distill,
        distillers=dict(
            old_classes=dict(
                type='kd_plugins.LogitDistiller',
                logits='bbox_head.gfl_cls',
                activation='sigmoid',
                beta=0.0,
                teacher_classes=['RBC', 'WBC'],
                weight=5.0,
            )
        ),
    )
)
