# The same DINO with D-FINE: fine-grained distribution refinement, taught by its own last layer (GO-LSD).
_base_ = './dino_r18_hippocampus-slices.py'
model = dict(
    type='kd_plugins.FDRDINO',
    bbox_head=dict(
        type='kd_plugins.FDRDINOHead',
        loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss'),
        loss_proposal_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    ),
)
