# The same, where neck and head start from the teacher's. The first convolutions of the neck, whose inputs are half as
# wide, keep their own start.
_base_ = './fgd_gfl-r18_gfl-r18w32_bccd.py'
default_hooks = dict(distill=dict(init_from_teacher=['neck', 'bbox_head']))
