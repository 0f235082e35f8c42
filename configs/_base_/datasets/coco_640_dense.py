# COCO at 640x640 with DEIM's dense one-to-one matching (arXiv 2412.04234, section 3.2) in `dense_pipeline`: with
# more objects in an image, more queries have one. Half of the images are mosaics of four, the others are zoomed out and
# cropped; half of them are then blended with another one. The training begins without strong steps; a config switches
# to `dense_pipeline`, `train_pipeline` and `second_stage_pipeline` with hooks.
_base_ = './coco_640.py'
load, finish = _base_.second_stage_pipeline[:2], _base_.second_stage_pipeline[2:]
mosaic = [
    dict(type='CachedMosaic', img_scale=(320, 320), center_ratio_range=(1.0, 1.0), pad_val=0.0, max_cached_images=50),
    dict(
        type='RandomAffine',
        max_rotate_degree=10.0,
        max_translate_ratio=0.1,
        scaling_ratio_range=(0.5, 1.5),
        max_shear_degree=0.0,
        border_val=(0, 0, 0),
    ),
]
dense_pipeline = [
    *load,
    dict(type='RandomChoice', transforms=[mosaic, _base_.train_pipeline[3:5]], prob=[0.5, 0.5]),
    _base_.train_pipeline[2],
    *finish[:-1],
    dict(
        type='CachedMixUp',
        img_scale=_base_.scale,
        ratio_range=(1.0, 1.0),
        flip_ratio=0.0,
        pad_val=0.0,
        max_cached_images=20,
        prob=0.5,
    ),
    finish[-1],
]
train_dataloader = dict(dataset=dict(pipeline=_base_.second_stage_pipeline))
