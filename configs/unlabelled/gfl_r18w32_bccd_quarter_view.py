# Half of the labelled images in a strong photometric view: the baseline of the two children that distil.
_base_ = './gfl_r18w32_bccd_quarter.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        student_view=dict(labelled=dict(type='kd_plugins.PhotometricView', min_easy=0.5)),
        distillers=dict(),
    )
)
