# DAB-DETR on COCO with D-FINE: fine-grained distribution refinement, taught by its own last layer (GO-LSD).
_base_ = 'mmdet::dab_detr/dab-detr_r50_8xb2-50e_coco.py'
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
model = dict(
    type='kd_plugins.FDRDABDETR',
    bbox_head=dict(type='kd_plugins.FDRDABDETRHead', loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss')),
)
