# Two-stage Deformable DETR on COCO with D-FINE: fine-grained distribution refinement, taught by its last layer.
# The proposals keep the plain detector's class loss.
_base_ = 'mmdet::deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
model = dict(
    type='kd_plugins.FDRDeformableDETR',
    bbox_head=dict(
        type='kd_plugins.FDRDeformableDETRHead',
        loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss'),
        loss_proposal_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
    ),
)
