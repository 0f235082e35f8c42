# Local graphs of all maps of a detector's backbone, as PointDistiller's release has them for SECOND: 256 locations of a
# map with 128 neighbours each, 32 channels, all locations alike. A config adds the teacher.
backbone_graph = dict(
    type='kd_plugins.LocalGraphDistiller',
    student_tap='backbone',
    importance='max',
    num_points=256,
    num_neighbours=128,
    channels=32,
    temperature=None,
    weight=1.0,
)
