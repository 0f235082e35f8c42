# A small Deformable DETR on BCCD with D-FINE: fine-grained distribution refinement, taught by its last layer.
# The proposals keep the plain detector's class loss.
_base_ = './deformable-detr_r18_bccd.py'
model = dict(
    type='kd_plugins.FDRDeformableDETR',
    bbox_head=dict(
        type='kd_plugins.FDRDeformableDETRHead',
        loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss'),
        loss_proposal_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
    ),
)
