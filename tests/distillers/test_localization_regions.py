"""LocalizationDistiller with selected locations and trust in the teacher."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers import LocalizationDistiller
from kd_plugins.losses import softmax_kl
from tests.distillers.common import check_step, make_batch, sentence
from tests.distillers.dense_heads import both, detector


def outputs_of(**kwargs: Any) -> tuple[LocalizationDistiller, dict, dict]:
    """A distiller between two GFL heads, and detached outputs of both."""
    distiller = LocalizationDistiller(temperature=2.0, **kwargs)
    pair = both(distiller, detector('gfl'), detector('gfl', seed=1))
    return (distiller, *({alias: [x.detach() for x in levels] for alias, levels in side.items()} for side in pair))


def rows(levels: list[Tensor]) -> Tensor:
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def divergence(student: dict, teacher: dict) -> Tensor:
    edges = [rows(side['logits']).detach().unflatten(2, (4, 8)) for side in (student, teacher)]
    return softmax_kl(*edges, 2.0, dim=-1).mean(dim=-1)


@pytest.mark.parametrize('trust', [None, 'teacher', 'difference'])
def test_value(trust: str | None) -> None:
    distiller, student, teacher = outputs_of(select=dict(ratio=0.1), trust=trust, positive_weight=3.0)
    for level in student['logits']:
        level.requires_grad_()
    losses = distiller(student, teacher, make_batch([None, None]))
    losses['loss_ld'].backward()
    scores = rows(teacher['scores']).sigmoid()
    confidence = scores.amax(dim=-1)
    selected = confidence >= confidence.flatten().topk(16).values[-1]  # 160 locations
    weight = confidence * selected
    if trust == 'difference':
        weight = (scores - rows(student['scores']).sigmoid()).abs().amax(dim=-1) * selected
    expected = 3.0 * (divergence(student, teacher) * weight).sum() / weight.sum().clamp(min=1)
    torch.testing.assert_close(losses['loss_ld'], expected)
    assert tuple(losses) == distiller.loss_names == ('loss_ld',)
    torch.testing.assert_close(distiller.monitors()['selected'], torch.tensor(0.1))
    gradient = rows([level.grad for level in student['logits']])
    assert gradient[~selected].abs().sum() == 0 and gradient[selected].abs().sum() > 0


def test_needs_no_labels() -> None:
    distiller, student, teacher = outputs_of(select=dict(score=0.5))
    plain = check_step(distiller, student, teacher, make_batch([None, None]))
    assert check_step(distiller, student, teacher, make_batch([[[4.0, 4.0, 30.0, 40.0]], []])) == plain


def test_truth_trusts_where_the_class_is_right() -> None:
    distiller, student, teacher = outputs_of(trust='truth')
    for level in teacher['scores']:
        level[:] = torch.tensor([3.0, -3.0, -3.0])[:, None, None]
    batch = make_batch([[[-1.0, -1.0, 99.0, 99.0]], []])
    for label, positive in ((0, True), (1, False)):
        for sample in batch.data_samples:
            sample.gt_instances.labels = torch.full((len(sample.gt_instances.bboxes),), label)
        assert (check_step(distiller, student, teacher, batch)['loss_ld'] > 0) == positive


def test_padding() -> None:
    distiller, student, teacher = outputs_of(select=dict(ratio=0.3))
    batch = make_batch([None, None], img_shape=(32, 64))
    loss = check_step(distiller, student, teacher, batch)
    for side in (student, teacher):
        for levels in side.values():
            for level in levels:
                level.data[:, :, level.shape[2] // 2 :] = 9.0
    assert check_step(distiller, student, teacher, batch) == loss
    assert student['logits'][0].grad[:, :, 4:].abs().sum() == 0


def test_nothing_selected() -> None:
    distiller, student, teacher = outputs_of(select=dict(score=1.0))
    assert check_step(distiller, student, teacher, make_batch([None, None])) == {'loss_ld': 0}


def test_arguments() -> None:
    assert LocalizationDistiller().loss_names == ('loss_ld', 'loss_ld_neg')
    assert set(LocalizationDistiller(select=dict(ratio=0.1)).student_taps()) == {'logits'}
    assert set(LocalizationDistiller(trust='difference').student_taps()) == {'logits', 'scores'}
    assert not LocalizationDistiller(select=dict(ratio=0.1)).compares_classes
    assert LocalizationDistiller(trust='truth').compares_classes
    with sentence('negative_weight is 0.5 with select or trust, which have one term, loss_ld; leave it out'):
        LocalizationDistiller(trust='teacher', negative_weight=0.5)
    with sentence("select.others is 'zero'; valid: 'ignore'"):
        LocalizationDistiller(select=dict(ratio=0.1, others='zero'))
    distiller, student, teacher = outputs_of(trust='difference')
    with sentence('both must predict the same classes'):
        distiller.initialize({**student, 'scores': [x[:, :2] for x in student['scores']]}, teacher)
