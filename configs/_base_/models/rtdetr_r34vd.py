# RT-DETR with ResNet-34-vd, RT-DETRv2-M with the star: 31 million parameters, a narrow neck, 4 decoder layers.
_base_ = './rtdetr_r18vd.py'
model = dict(backbone=dict(depth=34), decoder=dict(num_layers=4))
