# Half of the labelled slices in a strong photometric view: the baseline of the child that distils.
_base_ = './unet_isbi_five.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        student_view=dict(labelled=dict(type='kd_plugins.PhotometricView', preset='unimatch', min_easy=0.5)),
        distillers=dict(),
    )
)
