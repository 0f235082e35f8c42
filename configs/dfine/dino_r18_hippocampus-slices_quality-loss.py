# The same DINO with the class losses of D-FINE and plain boxes: the control for the class losses.
_base_ = ['./dino_r18_hippocampus-slices.py', '../_base_/models/dino_heads.py']
model = _base_.dino_quality_loss
