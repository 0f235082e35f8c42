# Control of the second stage: the same new head on the same frozen backbone, with the same epochs, rate and average,
# learns from the labels alone.
_base_ = './dwpose_lite0-lite0_lspet_stage2.py'
default_hooks = dict(
    distill=dict(_delete_=True, type='kd_plugins.DistillHook', restart=dict(parts=['head']), distillers=dict())
)
