# Local graphs of the pyramid's levels, for the small GFL. A config adds the weight.
pyramid_graph = dict(
    type='kd_plugins.LocalGraphDistiller', student_tap='neck.fpn_convs.*', num_points=256, num_neighbours=16
)
