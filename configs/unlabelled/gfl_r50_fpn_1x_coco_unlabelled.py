# GFL-R50 on COCO and unlabelled images: class scores and box edges of the locations where the teacher sees objects.
_base_ = ['mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/distill/unlabelled_coco.py', '../_base_/distill/dense_gfl.py']
custom_hooks = [_base_.average]
default_hooks = dict(
    distill=dict(
        unlabelled=dict(dataloader=_base_.dataloader, weight=_base_.ramp),
        distillers=dict(logits=dict(on='unlabelled', **_base_.logits), edges=dict(on='unlabelled', **_base_.edges)),
        **_base_.distill,
    )
)
