# RT-DETRv4-S on COCO (arXiv 2510.25257): DEIM-D-FINE-S, whose deepest map after the attention learns the tokens of
# DINOv3's ViT-B. The teacher sees the image at half its size, so that a token has the stride of that map, 32.
_base_ = ['./deim_dfine_s_coco.py', '../_base_/distill/dinov3.py']
default_hooks = dict(
    distill=dict(
        type='kd_plugins.DistillHook',
        teacher=_base_.teacher,
        distillers=dict(tokens=dict(student_tap='encoder.aifi.0', **_base_.tokens)),
    )
)
