# AdamW with clipped gradients, by epochs. Length, learning rate and its schedule come from the file that inherits this.
train_cfg = dict(type='EpochBasedTrainLoop')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW'), clip_grad=dict(norm_type=2))
