# Parts of a schedule that fine-tunes a pretrained backbone with the optimizer of trainings from scratch. The config
# that inherits this puts them together, because it knows the number of epochs, in whose second half the cosine begins.
_base_ = './rtmpose_scratch.py'
warmup = _base_.param_scheduler[0]
# Without `end` it ends with the training.
cosine = dict(type='CosineAnnealingLR', eta_min=_base_.base_lr * 0.05, by_epoch=True, convert_to_iter_based=True)
