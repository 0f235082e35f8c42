# PointDistiller's release for SECOND on KITTI: the published SECOND teaches local graphs of both maps of
# its backbone, 256 locations each.
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py',
    checkpoint='https://download.openmmlab.com/mmdetection3d/v1.1.0_models/second/'
    'second_hv_secfpn_8xb6-80e_kitti-3d-3class/second_hv_secfpn_8xb6-80e_kitti-3d-3class-b086d0a3.pth',
    mode='extract_feat',
)
local_graph = dict(
    type='kd_plugins.LocalGraphDistiller',
    student_tap='backbone',
    points='grid',
    reference='second',
    num_points=256,
    num_neighbours=128,
    channels=32,
    weight=1.0,
)
