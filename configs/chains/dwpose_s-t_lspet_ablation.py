# The chain of dwpose_s-t_lspet.py and, for comparison, the plain student and the second stage on it alone.
_base_ = './dwpose_s-t_lspet.py'
stages = dict(
    plain=dict(config='kd_plugins::dwpose/rtmpose-t_lspet.py', pick='last'),
    second_alone=dict(
        config='kd_plugins::dwpose/dwpose_t-t_lspet_stage2-plain.py', takes=dict(load_from='plain'), pick='last'
    ),
)
