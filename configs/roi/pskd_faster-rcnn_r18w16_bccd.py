# The small Faster R-CNN on BCCD with softened targets, without another network.
_base_ = ['./faster-rcnn_r18w16_bccd.py', '../_base_/distill/softened_proposals.py']
default_hooks = dict(distill=_base_.softened)
