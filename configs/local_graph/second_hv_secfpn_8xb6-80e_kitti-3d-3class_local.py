# MMDetection3D's SECOND on KITTI, taught by the moving average of itself, on both maps of its backbone. Its sparse
# convolutions need a GPU.
_base_ = ['mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py', '../_base_/distill/ema_local_graph.py']
default_hooks = dict(
    distill=dict(
        distillers=dict(
            local=dict(student_tap='backbone', points='grid', importance='max', num_points=256, **_base_.local_graph),
        ),
        **_base_.distill,
    ),
)
