# DeepLabV3-R18 on Cityscapes, taught by DeepLabV3-R101: class scores, and the affinities between the positions of all
# images of a batch, as in CIRKD without its memory banks.
_base_ = [
    'mmseg::deeplabv3/deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distill/cityscapes_deeplabv3_r101.py',
]
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(
            logits=dict(
                type='kd_plugins.LogitDistiller',
                logits='decode_head.conv_seg',
                activation='softmax',
                weight=1.0,
            ),
            affinity=dict(
                type='kd_plugins.RelationDistiller',
                student_tap='decode_head.bottleneck',
                kind='affinity',
                pairs='batch',
                temperature=0.1,
                weight=1.0,
            ),
        ),
    )
)
