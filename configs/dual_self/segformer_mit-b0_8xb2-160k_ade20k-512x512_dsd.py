# SegFormer on ADE20K with dual self-distillation. Its decoder projects the four stages and fuses them: the fused map is
# the deepest level, and the projections of the coarser stages come before it.
_base_ = ['mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', '../_base_/distill/dsd.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        distillers=dict(
            dsd=dict(
                # An image has few of the 150 classes, and Dice counts the others in every image.
                dice_weight=0.0,
                encoder='backbone',
                decoder=[f'decode_head.convs.{stage}' for stage in (3, 2, 1)] + ['decode_head.fusion_conv'],
                weight=0.4,
                **_base_.dsd,
            ),
        ),
    )
)
