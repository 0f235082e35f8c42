# D-FINE-S, 10.3 million parameters: HGNetV2-B0, a narrow neck, 3 decoder layers.
_base_ = './dfine.py'
model = dict(encoder=dict(expansion=0.5, num_blocks=1))
