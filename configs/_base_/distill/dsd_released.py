# Dual self-distillation as in the released code (soumbane/DualSelfDistillation): every weight is 1, the levels that
# teach get gradients from the divergences, and the encoder's heads learn from no labels.
dsd = dict(type='kd_plugins.DualSelfDistiller', detach_teacher=False, encoder_supervision='none')
