# For comparison: the start from the teacher's neck and head alone, without a distiller.
_base_ = './fgd_gfl-r18_gfl-r18w32_bccd_init.py'
default_hooks = dict(distill=dict(distillers=dict(fgd=None)))
