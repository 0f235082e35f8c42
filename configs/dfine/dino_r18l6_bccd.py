# DINO-R18 with six decoder layers from scratch on BCCD. The average of the weights is evaluated, here and in every
# child.
_base_ = './dino_r18_bccd.py'
model = dict(num_queries=60, decoder=dict(num_layers=6), test_cfg=dict(max_per_img=60))
train_cfg = dict(val_interval=12)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best=None))
custom_hooks = [dict(type='EMAHook', momentum=0.005, update_buffers=True, priority=49)]
