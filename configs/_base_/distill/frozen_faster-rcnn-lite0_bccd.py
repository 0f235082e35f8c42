# Faster R-CNN on EfficientNet-Lite0 as the teacher of the small one on BCCD: train roi/faster-rcnn_lite0_bccd.py first,
# in the same working folder, or let the environment variable BCCD_RCNN_TEACHER name a checkpoint.
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='kd_plugins::roi/faster-rcnn_lite0_bccd.py',
    checkpoint='{{$BCCD_RCNN_TEACHER:work_dirs/faster-rcnn_lite0_bccd/epoch_16.pth}}',
)
