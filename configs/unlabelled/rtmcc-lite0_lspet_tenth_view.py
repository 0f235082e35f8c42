# Half of the labelled photographs in a strong photometric view: the baseline of the child that distils.
_base_ = './rtmcc-lite0_lspet_tenth.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        student_view=dict(labelled=dict(type='kd_plugins.PhotometricView', min_easy=0.5)),
        distillers=dict(),
    )
)
