# PointDistiller's release for PointPillars on KITTI: the published PointPillars teaches the local graphs of the 6000
# pillars with the most points, weighted by the softmax of the counts over 0.01, all clouds of a batch as one. The term
# trains the student's voxel encoder alone, a few hundred weights. A config adds the channels of an edge.
teacher = dict(
    type='kd_plugins.FrozenTeacher',
    config='mmdet3d::pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py',
    checkpoint='https://download.openmmlab.com/mmdetection3d/v1.0.0_models/pointpillars/'
    'hv_pointpillars_secfpn_6x8_160e_kitti-3d-3class/'
    'hv_pointpillars_secfpn_6x8_160e_kitti-3d-3class_20220301_150306-37dc2420.pth',
    mode='extract_feat',
)
local_graph = dict(
    type='kd_plugins.LocalGraphDistiller',
    student_tap='voxel_encoder',
    points='voxel',
    reference='pointpillars',
    num_points=6000,
    num_neighbours=128,
    weight=1.0,
)
