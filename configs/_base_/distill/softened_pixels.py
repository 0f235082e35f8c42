# PS-KD (arXiv 2006.12000) for segmentors: the target of a pixel is (1 - a) label + a prediction of the network of one
# epoch ago, and a grows from 0 to 0.8 over the run. The cross-entropy is linear in its target, so the mixture is the
# sum of two losses.
softened = dict(
    type='kd_plugins.DistillHook',
    teacher=dict(type='kd_plugins.SnapshotTeacher', epochs=1),
    task_weight={'decode.loss_ce': dict(type='kd_plugins.LinearDecay', value=1.0, end_value=0.2)},
    distillers=dict(
        targets=dict(
            type='kd_plugins.LogitDistiller',
            logits='decode_head.conv_seg',
            activation='softmax',
            temperature=1.0,
            weight=dict(type='kd_plugins.LinearWarmup', value=0.8),
        )
    ),
)
