# D-FINE-N: batches of 128 images of one size.
_base_ = './dfine.py'
optim_wrapper = dict(optimizer=dict(lr=8e-4))
auto_scale_lr = dict(base_batch_size=128)
