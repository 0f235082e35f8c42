"""LogitDistiller with teachers that know other classes than the data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers import LogitDistiller
from kd_plugins.distillers.class_subsets import ClassSubset
from kd_plugins.losses import quality_focal_kd_loss, softmax_kl_loss
from tests.distillers.common import check_step, make_batch, sentence

DATA = ['cat', 'dog', 'cow', 'owl']
OTHERS = ['owl', 'bee', 'dog', 'cat']
OF_STUDENT, OF_TEACHER = [0, 1, 3], [3, 2, 0]
"""Places of cat, dog and owl."""


def maps(channels: int = 4, teacher_channels: int = 4) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(5)
    student, teacher = (torch.randn(2, c, 4, 4, generator=generator) for c in (channels, teacher_channels))
    return {'logits': [student]}, {'teacher_logits': [teacher]}


def specialist(classes: list[str] = OTHERS, data: list[str] = DATA, **options: Any) -> LogitDistiller:
    distiller = LogitDistiller('head', teacher_classes=classes, **options)
    distiller.take_classes('teachers.b', classes, data)
    return distiller


def loss_of(distiller: LogitDistiller, student: dict, teacher: dict) -> Tensor:
    distiller.initialize(student, teacher)
    return check_step(distiller, student, teacher, make_batch([None] * 2))['loss_logit']


@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
def test_the_shared_classes_are_compared(activation: str) -> None:
    student, teacher = maps()
    loss = loss_of(specialist(activation=activation), student, teacher)
    s, t = student['logits'][0].detach()[:, OF_STUDENT], teacher['teacher_logits'][0][:, OF_TEACHER]
    expected = softmax_kl_loss([s], [t]) if activation == 'softmax' else quality_focal_kd_loss([s], [t])
    torch.testing.assert_close(loss, expected)
    gradient = student['logits'][0].grad
    assert gradient[:, 2].abs().sum() == 0 and gradient[:, OF_STUDENT].abs().sum() > 0


def test_an_old_detector_teaches_its_rows_of_a_wider_head() -> None:
    """PredKD: binary cross-entropy, whose gradient vanishes where both agree, and is 0 for the new class."""
    student, teacher = maps(3, 2)
    distiller = specialist(['cat', 'dog'], ['cat', 'dog', 'cow'], beta=0.0)
    with torch.no_grad():
        student['logits'][0][:, :2] = teacher['teacher_logits'][0]
    loss = loss_of(distiller, student, teacher)
    probability = teacher['teacher_logits'][0].sigmoid()
    entropy = torch.nn.functional.binary_cross_entropy(probability, probability, reduction='sum')
    torch.testing.assert_close(loss, entropy / probability.amax(dim=1).sum())
    torch.testing.assert_close(student['logits'][0].grad, torch.zeros(2, 3, 4, 4), rtol=0, atol=1e-7)


def test_anchors_of_a_cell() -> None:
    """Two anchors: the classes of the first, then those of the second."""
    student, teacher = maps(8, 8)
    loss = loss_of(specialist(), student, teacher)
    s = student['logits'][0].detach()[:, OF_STUDENT + [4 + i for i in OF_STUDENT]]
    t = teacher['teacher_logits'][0][:, OF_TEACHER + [4 + i for i in OF_TEACHER]]
    torch.testing.assert_close(loss, quality_focal_kd_loss([s], [t]))


def test_selection_and_several_teachers() -> None:
    student, teacher = maps()
    teacher['c@teacher_logits'] = [teacher['teacher_logits'][0].flip(0)]
    options: dict[str, Any] = {'source': ['b', 'c'], 'trust': 'agreement', 'select': dict(ratio=0.5)}
    loss = loss_of(specialist(**options), student, teacher)
    chosen = {'logits': [student['logits'][0].detach()[:, OF_STUDENT].clone()]}
    both = {alias: [levels[0][:, OF_TEACHER]] for alias, levels in teacher.items()}
    torch.testing.assert_close(loss, loss_of(LogitDistiller('head', **options), chosen, both))
    confidence = specialist().confidence({'teacher_logits': teacher['teacher_logits']})[0]
    torch.testing.assert_close(confidence, both['teacher_logits'][0].sigmoid().amax(1))


def test_nothing_new_in_the_checkpoint() -> None:
    assert not specialist().state_dict() and not list(specialist().parameters())


def test_sentences() -> None:
    for options, match in (
        ({'teacher_classes': 'all'}, "teacher_classes is 'all'; valid: None, 'checkpoint', or the different names"),
        ({'teacher_classes': []}, r'teacher_classes is \[\]; valid: None'),
        ({'teacher_classes': ['a', 'a']}, "valid: None, 'checkpoint'"),
        (
            {'teacher_classes': 'checkpoint', 'trust': 'truth'},
            "teacher_classes is 'checkpoint' with trust='truth', which compares with labels of all classes",
        ),
        (
            {'teacher_classes': ['a'], 'divergence': 'nkd', 'activation': 'softmax'},
            r"teacher_classes is \['a'\] with divergence='nkd'",
        ),
    ):
        with sentence(match):
            LogitDistiller('head', **options)
    for classes, data, softmax, match in (
        (
            DATA,
            DATA,
            False,
            'the classes of teachers.b are those of the training data, in the same order; leave it out',
        ),
        (['bee'], DATA, False, r"teachers.b knows \['bee'\] and the training data have .*, which share no class"),
        (['owl', 'bee'], DATA, True, "which share 'owl' alone; nearest: a FeatureDistiller"),
    ):
        with sentence(match):
            ClassSubset('distillers.x', 'teachers.b', classes, data, 1, softmax)
    with sentence("the student's logits have 5 channels for 4 classes; tap the layer"):
        specialist().initialize(*maps(channels=5))
    with sentence("the teacher's logits have 8 channels for 4 classes"):
        specialist(activation='softmax').initialize(*maps(teacher_channels=8))
