# DINO-R18 on BCCD with D-FINE: fine-grained distribution refinement, taught by its own last layer (GO-LSD).
# The proposals keep the plain detector's class loss: with VFL the rare, small platelets get no queries for long.
_base_ = './dino_r18_bccd.py'
model = dict(
    type='kd_plugins.FDRDINO',
    bbox_head=dict(
        type='kd_plugins.FDRDINOHead',
        loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss'),
        loss_proposal_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    ),
)
