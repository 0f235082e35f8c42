# The same DINO with the class losses of D-FINE and plain boxes: the control for the class losses.
_base_ = './dino_r18_hippocampus-slices.py'
model = dict(
    bbox_head=dict(
        type='kd_plugins.ProposalLossDINOHead',
        loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss'),
        loss_proposal_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    )
)
