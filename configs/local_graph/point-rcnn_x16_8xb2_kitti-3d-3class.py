# MMDetection3D's PointRCNN on KITTI with a quarter of the channels, a sixteenth of its computation. Its sampling
# and grouping of points need a GPU.
_base_ = 'mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py'
model = dict(
    backbone=dict(
        sa_channels=(
            ((4, 4, 8), (8, 8, 16)),
            ((16, 16, 32), (16, 24, 32)),
            ((32, 49, 64), (32, 49, 64)),
            ((64, 64, 128), (64, 96, 128)),
        ),
    ),
    neck=dict(fp_channels=((384, 128, 128), (192, 128, 128), (152, 64, 64), (65, 32, 32))),
    rpn_head=dict(pred_layer_cfg=dict(in_channels=32, cls_linear_channels=(64, 64), reg_linear_channels=(64, 64))),
    roi_head=dict(
        bbox_head=dict(
            pred_layer_cfg=dict(in_channels=128, cls_conv_channels=(64, 64), reg_conv_channels=(64, 64)),
            mlp_channels=[32, 32],
            sa_channels=((32, 32, 32), (32, 32, 64), (64, 64, 128)),
        ),
    ),
)
