# The same 219 images without labels, and a finished teacher in place of the average: a pretrained network that was
# fine-tuned on the same 73 labels. It knows every class from the first step on. Train gfl_lite0_bccd_quarter.py first,
# in the same working folder, or let the environment variable BCCD_TEACHER name a checkpoint.
_base_ = './gfl_r18w32_bccd_quarter_unlabelled.py'
# The numbers with which the weights of the teacher's backbone were trained; both networks see the same pixels.
model = dict(data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]))
default_hooks = dict(
    distill=dict(
        teacher=dict(
            _delete_=True,
            type='kd_plugins.FrozenTeacher',
            config='kd_plugins::unlabelled/gfl_lite0_bccd_quarter.py',
            checkpoint='{{$BCCD_TEACHER:work_dirs/gfl_lite0_bccd_quarter/epoch_90.pth}}',
        ),
        unlabelled=dict(weight=dict(begin=0, end=100)),
    )
)
