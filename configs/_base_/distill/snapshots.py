# The student's states of one, two and three epochs ago as teachers that vote.
teachers = dict(
    young=dict(type='kd_plugins.SnapshotTeacher', epochs=1),
    middle=dict(type='kd_plugins.SnapshotTeacher', epochs=2),
    old=dict(type='kd_plugins.SnapshotTeacher', epochs=3),
)
votes = dict(
    type='kd_plugins.LogitDistiller',
    logits='decode_head.conv_seg',
    activation='softmax',
    source=['young', 'middle', 'old'],
)
