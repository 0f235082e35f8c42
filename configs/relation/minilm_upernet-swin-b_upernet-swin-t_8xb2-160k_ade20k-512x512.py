# UPerNet with Swin-T on ADE20K, taught the relations of queries, keys and values in the last attention layer of Swin-B,
# as in MiniLMv2: 24 and 32 attention heads are divided into 64 relation heads. With class scores.
_base_ = 'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=dict(
            type='kd_plugins.FrozenTeacher',
            config='mmseg::swin/swin-base-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/swin/'
            'upernet_swin_base_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K/'
            'upernet_swin_base_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K_20210526_192340-593b0e13.pth',
        ),
        distillers=dict(
            logits=dict(
                type='kd_plugins.LogitDistiller',
                logits='decode_head.conv_seg',
                activation='softmax',
                weight=1.0,
            ),
            attention=dict(
                type='kd_plugins.RelationDistiller',
                student_tap='backbone.stages.3.blocks.1.attn.w_msa.qkv',
                kind='attention',
                heads=64,
                weight=1.0,
            ),
        ),
    )
)
