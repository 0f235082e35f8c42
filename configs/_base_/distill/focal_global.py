# Factors of the release of FGD for COCO at 1333x800: `dense` is for GFL and RetinaNet, `two_stage` for Faster R-CNN and
# Mask R-CNN. All terms are sums, so the factors depend on the size of the maps and on their channels. `small` scales
# `dense` to 320x240 and 64 channels (a 14th of the positions, a quarter of the channels); its weight is a guess, which
# keeps the gradient of the terms at a few times that of the task between random networks. A config adds the teacher.
fgd = dict(type='kd_plugins.FocalGlobalDistiller', student_tap='neck.fpn_convs.*', temperature=0.5)
dense = dict(alpha=1e-3, beta=5e-4, gamma=5e-4, lamda=5e-6, weight=1.0, **fgd)
two_stage = dict(alpha=5e-5, beta=2.5e-5, gamma=5e-5, lamda=5e-7, weight=1.0, **fgd)
small = dict(
    alpha=4e-3,
    beta=2e-3,
    gamma=7e-3,
    lamda=2.8e-4,
    weight=dict(type='kd_plugins.LinearWarmup', value=0.03, end=100),
    **fgd,
)
