# The small 2-D baseline: a UNet from scratch on electron-microscopy slices. Other folds: ISBI_FOLD=1 to 4.
_base_ = [
    '../_base_/models/unet_small.py',
    '../_base_/datasets/isbi.py',
    '../_base_/schedules/seg_20e.py',
    '../_base_/runtime_seg.py',
]
