# The small Faster R-CNN on BCCD, taught by feature maps made of the labels and of its own pyramid (LGD), in the last
# three quarters of the run.
_base_ = '../roi/faster-rcnn_r18w16_bccd.py'
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            guide=dict(type='kd_plugins.LabelGuidedDistiller', encoder_width=0.25, begin=0.25, detach_appearance=True)
        ),
    )
)
