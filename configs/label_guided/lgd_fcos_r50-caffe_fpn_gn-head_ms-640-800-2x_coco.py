# FCOS-R50 on COCO, taught by feature maps made of the labels and of its own pyramid (LGD). As in the release, the image
# is no object.
_base_ = ['mmdet::fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py', '../_base_/distill/label_guided.py']
default_hooks = dict(distill=dict(distillers=dict(guide=dict(context=False, **_base_.guide)), **_base_.distill))
