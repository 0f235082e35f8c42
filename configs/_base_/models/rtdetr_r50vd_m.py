# RT-DETR with ResNet-50-vd and a narrow neck, RT-DETRv2-M: 36 million parameters, of which 3 decoder layers only train.
_base_ = './rtdetr_r50vd.py'
model = dict(encoder=dict(expansion=0.5), decoder=dict(eval_idx=2))
