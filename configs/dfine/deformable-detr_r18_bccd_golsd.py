# A small Deformable DETR on BCCD with D-FINE: fine-grained distribution refinement, taught by its last layer.
_base_ = './deformable-detr_r18_bccd.py'
model = dict(
    type='kd_plugins.FDRDeformableDETR',
    bbox_head=dict(type='kd_plugins.FDRDeformableDETRHead', loss_cls=dict(_delete_=True, type='kd_plugins.VFLLoss')),
)
