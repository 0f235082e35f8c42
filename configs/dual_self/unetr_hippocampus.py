# The small baseline: a UNETR from scratch on hippocampus volumes, patches of 32 voxels.
_base_ = [
    '../_base_/models/unetr_small.py',
    '../_base_/datasets/hippocampus.py',
    '../_base_/schedules/seg_20e.py',
    '../_base_/runtime_volume.py',
]
model = dict(network=dict(out_channels=3))
