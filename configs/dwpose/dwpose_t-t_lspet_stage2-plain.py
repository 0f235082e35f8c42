# The second stage alone: the plain student teaches a new head of its own.
_base_ = './dwpose_t-t_lspet_stage2.py'
load_from = '{{$LSPET_PLAIN:work_dirs/rtmpose-t_lspet/epoch_15.pth}}'
