# The same, where feature maps alone are compared: the teacher stops before its head.
_base_ = './ema.py'
distill = dict(teacher=dict(mode='extract_feat'))
