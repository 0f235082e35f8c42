# SegFormer-B0 on ADE20K, taught by feature maps made of the labels and of its own maps (LGD, carried over from
# detectors). Its four maps have 32 to 256 channels, and the encoder of 150 classes is narrow.
_base_ = ['mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', '../_base_/distill/label_guided.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(guide=dict(channels=128, encoder_width=0.25, level_balance='levels', **_base_.guide)),
        **_base_.distill,
    )
)
