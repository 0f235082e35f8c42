# The second stage alone: the plain student teaches a new head of its own. Train simplebaseline-r18w32_lspet.py first,
# in the same working folder, or let the environment variable LSPET_HEATMAP_PLAIN name a checkpoint.
_base_ = './dwpose_r18w32-r18w32_lspet_stage2.py'
load_from = '{{$LSPET_HEATMAP_PLAIN:work_dirs/simplebaseline-r18w32_lspet/epoch_15.pth}}'
