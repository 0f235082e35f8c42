# The same DINO with D-FINE: fine-grained distribution refinement, taught by its own last layer (GO-LSD).
_base_ = ['./dino_r18l6_bccd.py', '../_base_/models/dino_heads.py']
model = _base_.dino_golsd
