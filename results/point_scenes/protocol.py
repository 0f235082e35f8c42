"""PointDistiller with a student of 16 times less computation and a converged teacher (written before the first run)."""

question = """
Do local graphs of a converged teacher, with the released settings, help a student that has a sixteenth of its
computation, more than plain features with the same share of the gradient, and more than an untrained teacher does?
"""
teachers = dict(
    teacher=dict(config='configs/local_graph/pointpillars_scenes_24e.py', note='four times the channels, 24 epochs')
)
trained = {'default_hooks.distill.teacher.checkpoint': '{teacher}'}
arms = dict(
    plain=dict(config='configs/local_graph/pointpillars_x16_scenes.py', note='12 epochs of 100 steps'),
    local=dict(
        config='configs/local_graph/pointpillars_x16_scenes_local.py',
        options=trained,
        note='local graphs of all maps of the backbone, 256 points a level, weight 1',
    ),
    features=dict(
        config='configs/local_graph/pointpillars_x16_scenes_feat.py',
        options=trained,
        note='plain features of the same maps, 2.5 times as heavy: the same share of the gradient',
    ),
    released=dict(
        config='configs/local_graph/pointpillars_x16_scenes_released.py',
        options=trained,
        note="local graphs with the release's sums over images and levels, 12 times as heavy",
    ),
    random=dict(
        config='configs/local_graph/pointpillars_x16_scenes_random.py', note='local graphs of an untrained teacher'
    ),
)
del trained
seeds = (0, 1, 2)
more_seeds = (3, 4)
metrics = ('lidar/3d_mAP', 'lidar/bev_mAP', 'lidar/3d_Pedestrian', 'lidar/3d_Cyclist', 'lidar/3d_Car')
contrasts = (('local', 'plain'), ('released', 'plain'), ('local', 'features'), ('local', 'random'))
test_last = False
refuted_if = """
The 95 % interval of local minus plain, or of local minus random, in 3-D mAP holds 0, and so does that of released minus
plain; or the loss of the local graphs
is below .01 by step 200 (then nothing presses on the student any more), as it was with the pillars of the encoder.
"""
stop_if = 'After three seeds the means of local minus plain and of local minus features are both below 0.'
stopped = """
After three seeds the means of local minus plain (-3.71) and of local minus features (-.50) were both below 0. The arms
released and random were not run.
"""
