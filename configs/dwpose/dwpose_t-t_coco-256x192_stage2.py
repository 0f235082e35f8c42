# DWPose's second stage on COCO's 17 keypoints: the RTMPose-t of the first one teaches a new head of its own. Train the
# first one in the same working folder, or let the environment variable DWPOSE_STAGE1 name its checkpoint.
# MMPose trains RTMPose-t without an average of the weights, and so does the release.
_base_ = './dwpose_l-t_coco-256x192_stage1.py'
load_from = '{{$DWPOSE_STAGE1:work_dirs/dwpose_l-t_coco-256x192_stage1/epoch_420.pth}}'
train_cfg = dict(max_epochs=80)
default_hooks = dict(distill=dict(_delete_=True, **_base_.dwpose_stage2))
