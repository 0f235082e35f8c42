# DINO-R18 on BCCD with D-FINE: fine-grained distribution refinement, taught by its own last layer (GO-LSD).
_base_ = './dino_r18_bccd.py'
model = dict(
    type='kd_plugins.FDRDINO',
    bbox_head=dict(type='kd_plugins.FDRDINOHead', loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss')),
)
