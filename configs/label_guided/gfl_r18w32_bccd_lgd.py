# The half-width GFL on BCCD, taught by feature maps made of the labels and of its own pyramid (LGD), in the last three
# quarters of the run. It is trained from scratch, so no pretrained backbone needs to rest.
_base_ = '../gfl/gfl_r18w32_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(guide=dict(type='kd_plugins.LabelGuidedDistiller', encoder_width=0.25, begin=0.25)),
    )
)
