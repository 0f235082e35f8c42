from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.distillers import Batch, LogitDistiller
from kd_plugins.losses import quality_focal_kd_loss, softmax_kl_loss
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, make_batch, sentence

SHAPES = {'N,C': (2, 5), 'N,C,H,W': (2, 5, 3, 4), 'N,C,D,H,W': (2, 5, 2, 3, 4)}


def taps(*shapes: tuple[int, ...]) -> tuple[dict, dict]:
    student = {'logits': [torch.randn(shape) for shape in shapes]}
    return student, {'teacher_logits': [torch.randn(shape) for shape in shapes]}


@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES)
def test_step(shape: tuple[int, ...], activation: str) -> None:
    distiller = LogitDistiller('head', activation=activation)
    student, teacher = taps(shape, shape)
    distiller.initialize(student, teacher)
    losses = check_step(distiller, student, teacher, make_batch([None, None]))
    assert losses['loss_logit'] > 0
    assert all(level.grad.abs().sum() > 0 for level in student['logits'])


@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
@pytest.mark.parametrize('class_dim', [2, -1])
def test_queries(activation: str, class_dim: int) -> None:
    distiller = LogitDistiller('head', activation=activation, class_dim=class_dim)
    student, teacher = taps((2, 9, 5))
    distiller.initialize(student, teacher)
    losses = check_step(distiller, student, teacher, make_batch([None, None]))
    loss = {'sigmoid': quality_focal_kd_loss, 'softmax': softmax_kl_loss}[activation]
    assert losses['loss_logit'] == loss(student['logits'], teacher['teacher_logits'], class_dim=2)


def test_options_reach_the_loss() -> None:
    student, teacher = taps((2, 5, 3, 3))
    focal = LogitDistiller('head', beta=1.0)
    kl = LogitDistiller('head', activation='softmax', temperature=3.0)
    batch = make_batch([None, None])
    args = student['logits'], teacher['teacher_logits']
    assert check_step(focal, student, teacher, batch)['loss_logit'] == quality_focal_kd_loss(*args, beta=1.0)
    assert check_step(kl, student, teacher, batch)['loss_logit'] == softmax_kl_loss(*args, temperature=3.0)


@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
def test_equal_networks_lose_nothing(activation: str) -> None:
    student, _ = taps((2, 5, 3, 3))
    teacher = {'teacher_logits': [student['logits'][0].clone()]}
    distiller = LogitDistiller('head', activation=activation)
    assert check_step(distiller, student, teacher, make_batch([None, None]))['loss_logit'].abs() < 1e-6


@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
@pytest.mark.parametrize('shape', [(1, 5, 1, 1), (0, 5, 3, 3), (2, 5, 0, 3)], ids=str)
def test_small_batches(shape: tuple[int, ...], activation: str) -> None:
    student, teacher = taps(shape)
    check_step(LogitDistiller('head', activation=activation), student, teacher, make_batch([None] * shape[0]))


@pytest.mark.parametrize(
    'options', [{}, {'activation': 'softmax'}, {'activation': 'softmax', 'symmetric': True}], ids=str
)
def test_padding_does_not_count(options: dict[str, Any]) -> None:
    """Two images of different sizes in one batch, against each of them alone, without padding."""
    sizes = [(32, 64), (64, 48)]
    batch = make_batch([None, None])
    for sample, size in zip(batch.data_samples, sizes):
        sample.metainfo['img_shape'] = size
    student, teacher = taps((2, 5, 8, 8), (2, 5, 4, 4))
    distiller = LogitDistiller('head', **options)
    loss = check_step(distiller, student, teacher, batch)['loss_logit']
    alone, weights = [], []
    for index, (height, width) in enumerate(sizes):
        pair = [
            [x.detach()[index : index + 1, :, : height * x.shape[2] // 64, : width * x.shape[3] // 64] for x in levels]
            for levels in (student['logits'], teacher['teacher_logits'])
        ]
        weights.append(torch.stack([x.amax(dim=1).sigmoid().sum() for x in pair[1]]).sum())
        image = Batch(torch.zeros(1, 3, height, width), None)
        alone.append(distiller({'logits': pair[0]}, {'teacher_logits': pair[1]}, image)['loss_logit'])
    shares = torch.stack(weights) / sum(weights) if not options else torch.full((2,), 0.5)
    torch.testing.assert_close(loss, (torch.stack(alone) * shares).sum())
    assert all(x.grad[0, :, x.shape[2] // 2 :].abs().sum() == 0 for x in student['logits'])


def test_deeper_layer_teaches() -> None:
    distiller = LogitDistiller('branches.0', teacher_logits='branches.5', source='student')
    assert distiller.student_taps() == {'logits': 'branches.0'}
    assert distiller.teacher_taps() == {'teacher_logits': 'branches.5'}
    model = nn.Identity()
    distiller.check_models(model, model)
    student, teacher = taps((2, 5))
    distiller.initialize(student, teacher)
    check_step(distiller, student, teacher, make_batch([None, None]))


def test_config_sentences() -> None:
    with sentence("activation is 'sigmod'; nearest: 'sigmoid'"):
        LogitDistiller('head', activation='sigmod')
    with sentence('temperature is -1'):
        LogitDistiller('head', activation='softmax', temperature=-1)
    with sentence("temperature is 4.0 with activation='sigmoid'"):
        LogitDistiller('head', temperature=4.0)
    with sentence('beta is 0.5'):
        LogitDistiller('head', beta=0.5)
    with sentence('class_dim is 0'):
        LogitDistiller('head', class_dim=0)
    model = nn.Identity()
    with sentence("logits: 'head' would teach itself; .* or set teacher_logits to the path of a deeper layer"):
        LogitDistiller('head').check_models(model, model)


def test_shape_sentences() -> None:
    distiller = MODELS.build({'type': 'kd_plugins.LogitDistiller', 'logits': 'head', 'key': 'distillers.cls'})
    student, _ = taps((2, 3, 4, 4))
    with sentence('distillers.cls.logits: the teacher predicts 80 classes where the student predicts 3'):
        distiller.initialize(student, taps((2, 80, 4, 4))[1])
    with sentence('1 levels and the teacher 2'):
        distiller.initialize(student, taps((2, 3, 4, 4), (2, 3, 2, 2))[1])
    with sentence('same places'):
        distiller.initialize(student, taps((2, 3, 2, 2))[1])
    with sentence('same number of dimensions'):
        distiller.initialize(student, taps((2, 3))[1])
    with sentence("activation is 'softmax', and 'head' gives one class, .*; use activation='sigmoid'"):
        LogitDistiller('head', activation='softmax').initialize(*taps((2, 1, 4, 4)))
    far = LogitDistiller('head', class_dim=4)
    with sentence(r'class_dim is 4 and .*valid: 1 to 3'):
        far.initialize(*taps((2, 3, 4, 4)))
