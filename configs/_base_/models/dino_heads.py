# Heads that take the place of DINO's: D-FINE's with GO-LSD, and the control for its class losses. The proposals keep
# the plain detector's class loss: with VFL, rare and small objects get no queries for long.
class_losses = dict(
    loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss'),
    loss_proposal_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
)
dino_golsd = dict(type='kd_plugins.FDRDINO', bbox_head=dict(type='kd_plugins.FDRDINOHead', **class_losses))
dino_quality_loss = dict(bbox_head=dict(type='kd_plugins.ProposalLossDINOHead', **class_losses))
