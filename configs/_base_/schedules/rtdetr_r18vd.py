# RT-DETR's recipe with 18 or 34 layers, whose backbone is not frozen: its norms do not decay. MMEngine takes the
# longest name that fits a parameter.
_base_ = './rtdetr.py'
backbone_norms = [
    '.bn1.weight',
    '.bn1.bias',
    '.bn2.weight',
    '.bn2.bias',
    'downsample.2',
    *[f'backbone.stem.{i}' for i in (1, 4, 7)],
]
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={name: dict(lr_mult=0.1, decay_mult=0) for name in backbone_norms}),
)
