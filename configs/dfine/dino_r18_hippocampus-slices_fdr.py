# The same DINO with fine-grained distribution refinement alone: no layer teaches another.
_base_ = './dino_r18_hippocampus-slices_golsd.py'
model = dict(bbox_head=dict(loss_ddf=None, matching='own'))
