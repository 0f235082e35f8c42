# Local graphs of the pillars with the most points, for the small PointPillars. A config adds `num_points`.
pillar_graph = dict(
    type='kd_plugins.LocalGraphDistiller',
    student_tap='voxel_encoder',
    points='voxel',
    importance='count',
    num_neighbours=32,
    channels=16,
    weight=0.3,
)
