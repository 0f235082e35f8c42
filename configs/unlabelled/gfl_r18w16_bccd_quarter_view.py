# The same run of 2300 steps without the unlabelled images: the baseline of gfl_r18w16_bccd_quarter_unlabelled.py.
_base_ = './gfl_r18w16_bccd_quarter_unlabelled.py'
default_hooks = dict(
    distill=dict(
        teacher=None,
        student_view=dict(unlabelled=None),
        unlabelled=None,
        distillers=dict(logits=None, edges=None),
    )
)
