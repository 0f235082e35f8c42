# The detector of the first task of class-incremental BCCD as the teacher of the second one: train
# incremental/gfl_r18w32_bccd_cells.py first, in the same working folder, or let the environment variable BCCD_CELLS
# name a checkpoint. A config adds the distillers.
distill = dict(
    type='kd_plugins.DistillHook',
    teacher=dict(
        type='kd_plugins.FrozenTeacher',
        config='kd_plugins::incremental/gfl_r18w32_bccd_cells.py',
        checkpoint='{{$BCCD_CELLS:work_dirs/gfl_r18w32_bccd_cells/epoch_12.pth}}',
    ),
)
