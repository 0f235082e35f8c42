# Fine-tuning of a detector on a pretrained backbone, which gets a tenth of the learning rate. No decay of norms and
# biases outside of the backbone, whose entry of `custom_keys` takes the place of the other rules.
_base_ = './det_scratch.py'
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1)), norm_decay_mult=0, bias_decay_mult=0)
)
