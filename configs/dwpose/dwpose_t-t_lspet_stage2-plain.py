# The second stage alone: the plain student teaches a new head of its own. Train rtmpose-t_lspet.py first, in the same
# working folder, or let the environment variable LSPET_PLAIN name a checkpoint.
_base_ = './dwpose_t-t_lspet_stage2.py'
load_from = '{{$LSPET_PLAIN:work_dirs/rtmpose-t_lspet/epoch_15.pth}}'
