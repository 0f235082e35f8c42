# The half-width SimpleBaseline on LSPE, taught by feature maps made of the joints and of its own map (LGD, carried over
# from detectors), in the last three quarters of the run.
_base_ = '../dwpose/simplebaseline-r18w32_lspet.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(guide=dict(type='kd_plugins.LabelGuidedDistiller', encoder_width=0.25, begin=0.25)),
    )
)
