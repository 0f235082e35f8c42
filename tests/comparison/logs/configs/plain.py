default_scope = 'mmengine'
train_cfg = dict(max_epochs=2)
val_cfg = dict(type='ValLoop')
name = 'plain'
