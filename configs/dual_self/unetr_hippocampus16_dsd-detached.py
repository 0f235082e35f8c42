# The wide UNETR with dual self-distillation as released, but the levels that teach get no gradient from the
# divergences. The deepest head of the encoder then learns from the labels, since nothing else trains it.
_base_ = './unetr_hippocampus16_dsd-released.py'
default_hooks = dict(distill=dict(distillers=dict(dsd=dict(detach_teacher=True, encoder_supervision='deepest'))))
