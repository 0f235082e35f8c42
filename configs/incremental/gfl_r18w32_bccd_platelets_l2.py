# The second task, with all weights held near the end of the first one by squares (L2-SP). The rows of the new class in
# the class layer are free.
_base_ = './gfl_r18w32_bccd_platelets.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            anchor=dict(
                type='kd_plugins.ParameterAnchor',
                parameters='param:**',
                method='l2',
                checkpoint='{{$BCCD_CELLS:work_dirs/gfl_r18w32_bccd_cells/epoch_12.pth}}',
                classes=['RBC', 'WBC', 'Platelets'],
                weight=0.01,
            )
        ),
    )
)
