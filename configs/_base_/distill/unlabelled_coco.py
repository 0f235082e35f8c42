# The same for detectors with MMDetection's pipeline at 1333x800, as many unlabelled as labelled images.
_base_ = './unlabelled.py'
dataloader = dict(
    batch_size=2,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(1333, 800), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
        **_base_.folder,
    ),
    **_base_.loader,
)
