"""Recipe of softened targets, which need no other network."""

from __future__ import annotations

from typing import Any

from .recipe import Network, Pair, Settings, Unsuitable

SHARE = 0.8
"""Share of the prediction of one epoch ago in the target at the end of the training, as in the paper."""


def softened(pair: Pair) -> Settings:
    """Return the entry of softened targets (PS-KD): the label, and more and more of the prediction of one epoch ago.

    The sum of a weakened cross-entropy and a divergence is the loss of the mixed target. So it is offered where the
    class loss is a softmax cross-entropy alone.
    """
    key, targets = _class_loss(pair.student)
    return dict(
        teacher=dict(type='kd_plugins.SnapshotTeacher', epochs=1),
        task_weight={key: dict(type='kd_plugins.LinearDecay', value=1.0, end_value=round(1 - SHARE, 2))},
        distillers=dict(targets=dict(targets, weight=dict(type='kd_plugins.LinearWarmup', value=SHARE))),
    )


def _class_loss(network: Network) -> tuple[str, Settings]:
    """Return the key of the class loss, and the distiller of the same predictions without its weight."""
    if network.has_type('roi_head', 'StandardRoIHead') and _is_softmax(network.part('roi_head.bbox_head.loss_cls')):
        return 'loss_cls', dict(type='kd_plugins.RoIDistiller', divergence='kl', reg=False)
    if network.has_type('decode_head', 'BaseDecodeHead') and _is_softmax(network.part('decode_head.loss_decode')):
        scores = dict(type='kd_plugins.LogitDistiller', logits='decode_head.conv_seg', activation='softmax')
        return 'decode.loss_ce', dict(scores, temperature=1.0)
    raise Unsuitable('the model has neither a roi_head of one stage nor a decode_head with softmax cross-entropy alone')


def _is_softmax(loss: Any) -> bool:
    """Return whether a loss is OpenMMLab's cross-entropy over a softmax."""
    return type(loss).__name__ == 'CrossEntropyLoss' and not loss.use_sigmoid
