from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_plugins.distillers import Batch, LogitDistiller
from kd_plugins.losses import dist_loss, dkd_loss, nkd_loss, softmax_kl_loss, symmetric_kl
from tests.distillers.common import check_step, make_batch, sentence
from tests.distillers.dense_heads import detector
from tests.distillers.pixels import Segmentor, cell_labels, labelled, rows
from tests.ranks import on_two_ranks

LABELLED = {'nkd': nkd_loss, 'dkd': dkd_loss}
DIVERGENCES = ('dist', 'nkd', 'dkd')


def maps(images: int = 2, classes: int = 4, size: int = 16) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(3)
    student, teacher = (3 * torch.randn(images, classes, size, size, generator=generator) for _ in range(2))
    return {'logits': [student]}, {'teacher_logits': [teacher]}


def make(divergence: str, **options) -> LogitDistiller:
    distiller = LogitDistiller('decode_head.conv_seg', activation='softmax', divergence=divergence, **options)
    distiller.check_models(Segmentor(), Segmentor())
    return distiller


@pytest.mark.parametrize('divergence', DIVERGENCES)
def test_pixels(divergence: str) -> None:
    """Ignored pixels and padding count for nothing, the other cells as in the loss."""
    student, teacher = maps()
    distiller, batch = make(divergence, temperature=2.0), labelled(img_shape=(48, 64))
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, batch)['loss_logit']
    s, t, labels = (x[:, 1:12] for x in (rows(student), rows(teacher, 'teacher_logits'), cell_labels(batch)))
    if divergence == 'dist':
        torch.testing.assert_close(actual, dist_loss(s, t, temperature=2.0))
    else:
        torch.testing.assert_close(actual, LABELLED[divergence](s, t, labels, 2.0))
    gradient = student['logits'][0].grad.abs().sum(1)
    assert gradient[:, 0].sum() == 0 and gradient[:, 12:].sum() == 0 and (gradient[:, 1:12] > 0).all()


@pytest.mark.parametrize('divergence', DIVERGENCES)
def test_ignore_index_of_the_head(divergence: str) -> None:
    student, teacher = maps()
    distiller = LogitDistiller('decode_head.conv_seg', activation='softmax', divergence=divergence)
    distiller.check_models(Segmentor(ignore_index=2), Segmentor())
    check_step(distiller, student, teacher, batch := labelled())
    gradient = student['logits'][0].grad.abs().sum(1)
    assert gradient[cell_labels(batch) == 2].sum() == 0


@pytest.mark.parametrize('divergence', DIVERGENCES)
def test_images(divergence: str) -> None:
    """A classifier has one location per image."""
    student, teacher = {'logits': [torch.randn(6, 4)]}, {'teacher_logits': [torch.randn(6, 4)]}
    batch = make_batch([None] * 6)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    for sample, label in zip(batch.data_samples, labels):
        sample.gt_label = label[None]
    distiller = LogitDistiller('head.fc', activation='softmax', divergence=divergence)
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, batch)['loss_logit']
    s, t = student['logits'][0].detach(), teacher['teacher_logits'][0]
    torch.testing.assert_close(actual, dist_loss(s, t) if divergence == 'dist' else LABELLED[divergence](s, t, labels))


@pytest.mark.parametrize('divergence', ['kl', *DIVERGENCES])
def test_copy_of_the_student_as_teacher(divergence: str) -> None:
    student, _ = maps()
    teacher = {'teacher_logits': [student['logits'][0].clone()]}
    value = check_step(make(divergence), student, teacher, labelled())['loss_logit']
    assert value.abs() < 1e-6


@pytest.mark.parametrize('divergence', DIVERGENCES)
def test_nothing_counts(divergence: str) -> None:
    student, teacher = maps(images=1)
    batch = labelled(images=1)
    batch.data_samples[0].gt_sem_seg.data[:] = 255
    assert check_step(make(divergence), student, teacher, batch)['loss_logit'] == 0
    assert check_step(make(divergence), *maps(images=0), make_batch([]))['loss_logit'] == 0


def test_factors_and_several_levels() -> None:
    s, t = torch.randn(2, 2, 5, 4)
    student, teacher = {'logits': [s[..., :3], s[..., 3:]]}, {'teacher_logits': [t[..., :3], t[..., 3:]]}
    student['logits'] = [x.clone() for x in student['logits']]
    distiller = LogitDistiller('head', activation='softmax', divergence='dist', factors=dict(intra=0.5))
    actual = check_step(distiller, student, teacher, make_batch([None] * 2))['loss_logit']
    torch.testing.assert_close(actual, dist_loss(s.movedim(1, -1), t.movedim(1, -1), intra=0.5))


def test_anchors_are_locations() -> None:
    """RetinaNet predicts the classes of all anchors of a cell in one output."""
    model = detector('retina')
    anchors = model.bbox_head.num_base_priors
    student, teacher = maps(classes=anchors * 5)
    distiller = LogitDistiller('bbox_head.retina_cls', divergence='dist')
    distiller.check_models(model, detector('retina', seed=1))
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, make_batch([None] * 2, (48, 64)))['loss_logit']
    s, t = (
        rows(x, a)[:, :12].unflatten(-1, (anchors, 5)) for x, a in ((student, 'logits'), (teacher, 'teacher_logits'))
    )
    torch.testing.assert_close(actual, dist_loss(s, t, softmax=False))
    with sentence('an output has 4 channels, which 3 anchors cannot share'):
        distiller.initialize(*maps())


def test_anchors_that_share_a_softmax() -> None:
    """Those of RetinaNet are one number in a cell, those of an SSD are others in each level."""
    options = dict(activation='softmax', key='distillers.x')
    with sentence(
        "activation is 'softmax', and 3 anchors share .* cell of 'bbox_head.retina_cls' .*: divergence='dist'"
    ):
        LogitDistiller('bbox_head.retina_cls', **options).check_models(detector('retina'), detector('retina', seed=1))
    priors = dict(
        type='SSDAnchorGenerator', strides=[8, 16], ratios=[[2], [2, 3]], min_sizes=[16, 32], max_sizes=[32, 60]
    )
    head = pytest.importorskip('mmdet.registry').MODELS.build(
        dict(type='SSDHead', num_classes=3, in_channels=(4, 4), anchor_generator={**priors, 'input_size': 64})
    )
    ssd = nn.ModuleDict({'bbox_head': head})
    with sentence("and 4 to 6 anchors share the channels of a cell of '.*' \\(SSDHead.*; nearest: FeatureDistiller"):
        LogitDistiller('bbox_head.cls_convs.*', **options).check_models(ssd, deepcopy(ssd))
    with sentence("have 4 to 6 anchors in a cell \\(SSDHead\\), and divergence='dist' needs equally many"):
        LogitDistiller('bbox_head.cls_convs.*', divergence='dist', **options).check_models(ssd, deepcopy(ssd))


@pytest.mark.parametrize('select', [None, dict(score=0.5)])
def test_symmetric(select: dict | None) -> None:
    student, teacher = maps()
    distiller = LogitDistiller('head', activation='softmax', symmetric=True, temperature=2.0, select=select)
    actual = check_step(distiller, student, teacher, make_batch([None] * 2))['loss_logit']
    s, t = student['logits'][0].detach(), teacher['teacher_logits'][0]
    expected = (softmax_kl_loss([s], [t], 2.0) + softmax_kl_loss([t], [s], 2.0)) / 2
    if select is not None:
        expected = symmetric_kl(s, t, 2.0)[t.softmax(1).amax(1) >= 0.5].mean()
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'divergence': 'dis'}, "divergence is 'dis'; nearest: 'dist'"),
        ({'divergence': 'uskd'}, "divergence is 'uskd', which has no teacher; use type='kd_plugins.USKDDistiller'"),
        ({'factors': {'inter': 1.0}}, "factors is .* with divergence='kl', which has one part; use weight"),
        ({'divergence': 'dist', 'factors': {'inner': 1.0}}, "factors has the entry 'inner'; nearest: 'inter'"),
        ({'divergence': 'dist', 'factors': 3}, r'factors is 3; valid: None, dict\(inter=1.0, intra=1.0\)'),
        ({'divergence': 'dist', 'factors': {'inter': -1.0}}, 'factors.inter is -1.0; it must be a finite number'),
        ({'divergence': 'dist', 'factors': {'inter': 0, 'intra': 0}}, 'every part has the factor 0'),
        ({'divergence': 'dist', 'beta': 1.0}, "beta is set with divergence='dist', which does not read it"),
        ({'divergence': 'dkd', 'trust': 'teacher'}, "trust is set with divergence='dkd'"),
        ({'divergence': 'nkd', 'select': {'ratio': 0.1}}, "select is set with divergence='nkd'"),
        ({'divergence': 'dist', 'source': ['a', 'b']}, r"source is \['a', 'b'\] with divergence='dist', which"),
        ({'divergence': 'dist', 'target': 'hard'}, "target is set with divergence='dist'"),
        ({'divergence': 'dist', 'symmetric': True}, 'symmetric is True; only'),
        ({'target': 'hard', 'symmetric': True}, 'symmetric is True; only'),
        ({'symmetric': 1}, 'symmetric is 1; valid: True, False'),
    ],
    ids=str,
)
def test_config_sentences(options: dict, match: str) -> None:
    with sentence(match):
        LogitDistiller('head', activation='softmax', **options)


def test_sigmoid_sentences() -> None:
    with sentence("activation is 'sigmoid' with divergence='nkd'; .* use activation='softmax', or divergence='kl'"):
        LogitDistiller('head', divergence='nkd')
    with sentence('symmetric is True'):
        LogitDistiller('head', symmetric=True)
    with sentence("temperature is 2.0 with activation='sigmoid'"):
        LogitDistiller('head', divergence='dist', temperature=2.0)


def test_shape_sentences() -> None:
    for divergence, part in (('dist', 'inter'), ('nkd', 'others'), ('dkd', 'others')):
        with sentence(f'factors.{part} is .* and the head predicts 2 classes, .* use factors=dict\\({part}=0.0\\)'):
            make(divergence).initialize(*maps(classes=2))
        make(divergence, factors={part: 0.0}).initialize(*maps(classes=2))
        with sentence("classes are compared with each other, and the head predicts 1; use divergence='kl'"):
            make(divergence, factors={part: 0.0}).initialize(*maps(classes=1))
    queries = {'logits': [torch.randn(2, 9, 5)]}, {'teacher_logits': [torch.randn(2, 9, 5)]}
    LogitDistiller('head', activation='softmax', divergence='dist', class_dim=2).initialize(*queries)
    with sentence("divergence is 'nkd', and an output of shape .* with class_dim=2 has no label for each place"):
        LogitDistiller('head', activation='softmax', divergence='nkd', class_dim=2).initialize(*queries)
    with sentence("divergence is 'nkd' and the batch has no gt_sem_seg; use it on images with labels"):
        make('nkd')(*maps(), make_batch([None] * 2))


def _gradient(divergence: str) -> Tensor:
    student, teacher = maps(images=4)
    batch = labelled(images=4)
    part = [slice(0, 1), slice(1, 4)][dist.get_rank()] if dist.is_initialized() else slice(None)
    level = student['logits'][0][part].clone().requires_grad_()
    own = Batch(batch.inputs[part], batch.data_samples[part])
    loss = make(divergence)({'logits': [level]}, {'teacher_logits': [teacher['teacher_logits'][0][part]]}, own)
    return torch.autograd.grad(loss['loss_logit'], level)[0]


@pytest.mark.distributed
@pytest.mark.parametrize('divergence', DIVERGENCES)
def test_two_ranks_equal_one_process(tmp_path: Path, divergence: str) -> None:
    ranks = on_two_ranks(tmp_path, _gradient, divergence)
    torch.testing.assert_close(torch.cat(ranks) / 2, _gradient(divergence))
