# The small UNet on ISBI, taught by feature maps made of the regions of the classes and of the maps that its head reads
# (LGD, carried over from detectors), in the last three quarters of the run. The maps have 16 channels, four for each
# head of the attention.
_base_ = '../dual_self/unet_isbi.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            guide=dict(type='kd_plugins.LabelGuidedDistiller', num_heads=4, encoder_width=0.25, begin=0.25)
        ),
    )
)
