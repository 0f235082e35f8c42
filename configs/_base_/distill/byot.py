# "Be your own teacher" (arXiv 1905.08094): every encoder level has a head that learns from the labels and from the
# network's own output, and a hint from the deepest features. Weights as in MMRazor's config.
byot = dict(
    type='kd_plugins.DualSelfDistiller',
    encoder_supervision='all',
    seg_weight=0.7,
    dice_weight=0.0,
    kl_weight=0.3,
    feature_weight=0.03,
    feature_size=None,
    upsample='interpolate',
)
