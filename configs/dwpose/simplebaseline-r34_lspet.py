# SimpleBaseline with ResNet-34: the teacher of the first stage with heatmaps.
_base_ = './simplebaseline-r18_lspet.py'
model = dict(backbone=dict(depth=34))
