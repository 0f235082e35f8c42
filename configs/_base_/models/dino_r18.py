# A DINO detector that a CPU can train from scratch: as the small Deformable DETR, with denoising queries. MMDetection's
# DINO decoder fixes the embedding at 256 channels.
_base_ = './deformable_detr_r18.py'
model = dict(
    type='DINO',
    positional_encoding=dict(offset=0.0, temperature=20),
    bbox_head=dict(type='DINOHead', loss_cls=dict(loss_weight=1.0)),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=40),
    ),
)
