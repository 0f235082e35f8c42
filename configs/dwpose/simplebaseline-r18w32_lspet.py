# SimpleBaseline at half the width of ResNet-18, 3.3 instead of 13 million weights: the plain student with heatmaps.
_base_ = './simplebaseline-r18_lspet.py'
model = dict(backbone=dict(base_channels=32), head=dict(in_channels=256, deconv_out_channels=(64, 64, 64)))
