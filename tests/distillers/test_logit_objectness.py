"""LogitDistiller on heads whose score is class times objectness."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers import BoxDistiller, LogitDistiller, Taps
from kd_plugins.losses import quality_focal, quality_focal_kd_loss
from tests.distillers.common import check_step, make_batch, sentence
from tests.distillers.dense_heads import both, detector

YOLOX = {'logits': 'bbox_head.multi_level_conv_cls.*', 'objectness': 'bbox_head.multi_level_conv_obj.*'}
RTMDET = {'logits': 'bbox_head.rtm_cls.*', 'objectness': 'bbox_head.rtm_obj.*'}


def outputs_of(name: str, **kwargs: Any) -> tuple[LogitDistiller, dict, dict]:
    distiller = LogitDistiller(**kwargs)
    pair = both(distiller, detector(name), detector(name, seed=1))
    return (distiller, *({alias: [x.detach() for x in levels] for alias, levels in side.items()} for side in pair))


def scores(side: Taps, exponent: float) -> Tensor:
    """The head's scores, (N, L, C)."""
    classes, objectness = (torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1) for levels in side.values())
    return (classes.detach().double().sigmoid() * objectness.detach().double().sigmoid()) ** exponent


@pytest.mark.parametrize(('name', 'taps', 'exponent'), [('yolox', YOLOX, 1.0), ('rtmdet_sep', RTMDET, 0.5)])
@pytest.mark.parametrize('others', ['zero', 'ignore'])
def test_value(name: str, taps: dict[str, str], exponent: float, others: str) -> None:
    """The terms of Dense Teacher on the product, and both layers learn."""
    distiller, student, teacher = outputs_of(name, **taps, select=dict(ratio=0.1, others=others))
    loss = check_step(distiller, student, teacher, make_batch([None, None]))['loss_logit']
    q, y = scores(student, exponent), scores(teacher, exponent)
    confidence = y.amax(dim=-1)
    selected = confidence >= confidence.flatten().topk(16).values[-1]  # 160 locations
    total = quality_focal(q.logit(), y.logit())[selected].sum()
    if others == 'zero':
        total += quality_focal(q.logit(), torch.full_like(y, -200.0))[~selected].sum()
    torch.testing.assert_close(loss, (total / confidence[selected].sum().clamp(min=1)).float())
    assert all(levels[0].grad.abs().sum() > 0 for levels in student.values())
    torch.testing.assert_close(distiller.monitors()['selected'], torch.tensor(0.1))


def test_selects_where_the_boxes_are() -> None:
    """Class and box terms with one ``select`` choose the same locations."""
    select = dict(score=0.2)
    distiller, student, teacher = outputs_of('yolox', **YOLOX, select=select)
    batch = make_batch([None, None], img_shape=(40, 56))
    check_step(distiller, student, teacher, batch)
    box = BoxDistiller(select=select)
    box(*both(box, detector('yolox'), detector('yolox', seed=1)), batch)
    counts, box_counts = distiller.regions.counts, box.regions.counts
    assert counts is not None and counts == box_counts and 0 < counts[0] < counts[1]


def test_without_selection() -> None:
    distiller, student, teacher = outputs_of('yolox', **YOLOX)
    loss = check_step(distiller, student, teacher, make_batch([None, None]))['loss_logit']
    q, y = scores(student, 1.0), scores(teacher, 1.0)
    expected = quality_focal_kd_loss([q.logit()], [y.logit()], class_dim=2)
    torch.testing.assert_close(loss, expected.float())


def test_an_object_that_is_missing_teaches_objectness() -> None:
    """Where the teacher sees an object that the student's objectness excludes, a step raises it."""
    distiller, student, teacher = outputs_of('yolox', **YOLOX, select=dict(score=0.5))
    for side, value in ((student, -4.0), (teacher, 4.0)):
        for level in side['objectness' if side is student else 'teacher_objectness']:
            level[:] = value
    for level in teacher['teacher_logits']:
        level[:] = 4.0
    check_step(distiller, student, teacher, make_batch([None, None]))
    assert all((level.grad < 0).all() for level in student['objectness'])


def test_padding_and_empty_selection() -> None:
    distiller, student, teacher = outputs_of('yolox', **YOLOX, select=dict(ratio=0.2))
    batch = make_batch([None, None], img_shape=(32, 64))
    loss = check_step(distiller, student, teacher, batch)['loss_logit']
    assert all(level.grad[:, :, level.shape[2] // 2 :].abs().sum() == 0 for x in student.values() for level in x)
    for levels in (*student.values(), *teacher.values()):
        for level in levels:
            level.data[:, :, level.shape[2] // 2 :] = 9.0
    assert check_step(distiller, student, teacher, batch)['loss_logit'] == loss
    distiller = outputs_of('yolox', **YOLOX, select=dict(score=1.0, others='ignore'))[0]
    assert check_step(distiller, student, teacher, make_batch([None, None], img_shape=(32, 64)))['loss_logit'] == 0


def test_sentences() -> None:
    pair = detector('yolox'), detector('yolox', seed=1)
    for name in ('select', 'trust'):
        options = {name: dict(score=0.1) if name == 'select' else 'teacher'}
        with sentence(r"multiplies 'bbox_head.multi_level_conv_cls.\*' by objectness; give objectness='bbox_head.mul"):
            LogitDistiller(YOLOX['logits'], **options).check_models(*pair)
    LogitDistiller(YOLOX['logits']).check_models(*pair)
    LogitDistiller(YOLOX['objectness'], select=dict(score=0.1)).check_models(*pair)
    plain = detector('rtmdet_sep_plain'), detector('rtmdet_sep_plain', seed=1)
    LogitDistiller(RTMDET['logits'], select=dict(score=0.1)).check_models(*plain)
    with sentence("objectness is 'a' with activation='softmax'"):
        LogitDistiller('b', activation='softmax', objectness='a')
    distiller, student, teacher = outputs_of('yolox', **YOLOX)
    with sentence('objectness has one channel at the places of the class logits'):
        distiller.initialize({**student, 'objectness': student['logits']}, teacher)
