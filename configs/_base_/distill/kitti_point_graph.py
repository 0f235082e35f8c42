# PointDistiller's release for PointRCNN on KITTI: the published PointRCNN teaches local graphs of the features of its
# points. A config adds the channels of an
# edge.
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmdet3d::point_rcnn/point-rcnn_8xb2_kitti-3d-3class.py',
    checkpoint='https://download.openmmlab.com/mmdetection3d/v1.0.0_models/point_rcnn/'
    'point_rcnn_2x8_kitti-3d-3classes_20211208_151344.pth',
    mode='extract_feat',
)
local_graph = dict(
    type='kd_plugins.LocalGraphDistiller',
    student_tap='neck',
    points='point',
    reference='point_rcnn',
    num_points=6000,
    num_neighbours=128,
    pool=True,
    weight=1.0,
)
