# The same DINO with fine-grained distribution refinement alone: no layer teaches another.
_base_ = './dino_r18l6_bccd_golsd.py'
model = dict(bbox_head=dict(loss_ddf=None, matching='own'))
