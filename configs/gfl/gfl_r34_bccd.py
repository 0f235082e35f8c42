# A wider and deeper GFL on BCCD, to teach the small one: ResNet-34, with 128 channels in the pyramid and the head.
_base_ = './gfl_r18_bccd.py'
model = dict(
    backbone=dict(depth=34),
    neck=dict(out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128),
)
