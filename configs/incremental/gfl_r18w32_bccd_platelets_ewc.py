# The second task, with the backbone held near the end of the first one, each weight by its Fisher information there
# (EWC). The mean of the information is 1, so that the factor means the same as with squares.
_base_ = './gfl_r18w32_bccd_platelets.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            anchor=dict(
                type='kd_plugins.ParameterAnchor',
                parameters='param:backbone.**',
                method='ewc',
                checkpoint='{{$BCCD_CELLS:work_dirs/gfl_r18w32_bccd_cells/epoch_16.pth}}',
                normalize=True,
                weight=0.01,
            )
        ),
    )
)
