# The baseline that overfits: a UNETR of usual width on 16 hippocampus volumes. Other folds: HIPPOCAMPUS_FOLD=1 to 4.
# It is measured after its last epoch, on the 40 test volumes and on those of the training; no checkpoint is chosen.
_base_ = [
    '../_base_/models/unetr.py',
    '../_base_/datasets/hippocampus16.py',
    '../_base_/schedules/few_volumes.py',
    '../_base_/runtime_volume.py',
]
model = dict(network=dict(out_channels=3))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best=None))
