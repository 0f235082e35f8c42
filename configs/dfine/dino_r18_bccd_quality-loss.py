# DINO-R18 on BCCD with the class losses of the config with D-FINE and plain boxes: the control for the class losses.
_base_ = './dino_r18_bccd.py'
model = dict(
    bbox_head=dict(
        type='kd_plugins.ProposalLossDINOHead',
        loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss'),
        loss_proposal_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    )
)
