# Data loaders of the small data sets: one worker process, training samples shuffled, validation samples in order.
train_dataloader = dict(num_workers=1, persistent_workers=False, sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    num_workers=1, persistent_workers=False, drop_last=False, sampler=dict(type='DefaultSampler', shuffle=False)
)
test_dataloader = val_dataloader
