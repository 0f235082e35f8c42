# The second task, with the backbone held near its start by squares (L2-SP).
_base_ = './gfl_r18w32_bccd_platelets.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            anchor=dict(type='kd_plugins.ParameterAnchor', parameters='param:backbone.**', method='l2', weight=0.01)
        ),
    )
)
