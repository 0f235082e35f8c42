# MMDetection3D's PointRCNN on KITTI with the channels divided by the root of 8, an eighth of its computation. Its
# sampling and grouping of points need a GPU.
_base_ = 'mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py'
model = dict(
    backbone=dict(
        sa_channels=(
            ((6, 6, 11), (11, 11, 23)),
            ((23, 23, 45), (23, 34, 45)),
            ((45, 69, 91), (45, 69, 91)),
            ((91, 91, 181), (91, 136, 181)),
        ),
    ),
    neck=dict(fp_channels=((544, 181, 181), (271, 181, 181), (215, 91, 91), (92, 45, 45))),
    rpn_head=dict(pred_layer_cfg=dict(in_channels=45, cls_linear_channels=(91, 91), reg_linear_channels=(91, 91))),
    roi_head=dict(
        bbox_head=dict(
            pred_layer_cfg=dict(in_channels=181, cls_conv_channels=(91, 91), reg_conv_channels=(91, 91)),
            mlp_channels=[45, 45],
            sa_channels=((45, 45, 45), (45, 45, 91), (91, 91, 181)),
        ),
    ),
)
