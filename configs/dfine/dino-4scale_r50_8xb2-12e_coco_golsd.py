# DINO-R50 on COCO with D-FINE: fine-grained distribution refinement, taught by its own last layer (GO-LSD).
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
model = dict(
    type='kd_plugins.FDRDINO',
    bbox_head=dict(type='kd_plugins.FDRDINOHead', loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss')),
)
