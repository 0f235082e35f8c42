"""LogitDistiller with hard labels, and with the votes of several teachers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.distillers import Batch, LogitDistiller
from kd_plugins.losses import hard_label_loss, quality_focal, softmax_kl
from kd_plugins.ops.probabilities import agreement, mean_logits
from tests.distillers.common import check_step, make_batch, sentence
from tests.ranks import on_two_ranks

GATE = {'activation': 'softmax', 'target': 'hard', 'select': dict(score=0.8)}


def maps(images: int = 2, size: int = 16, teachers: int = 1, seed: int = 0) -> tuple[dict, dict]:
    """Logits of three classes on maps of stride 4, for images of 64 x 64."""
    generator = torch.Generator().manual_seed(seed)
    student, *taught = (2 * torch.randn(images, 3, size, size, generator=generator) for _ in range(1 + teachers))
    aliases = ('teacher_logits', 'b@teacher_logits', 'c@teacher_logits')
    return {'logits': [student]}, {alias: [x] for alias, x in zip(aliases, taught)}


def rows(tapped: dict, alias: str = 'logits') -> Tensor:
    return tapped[alias][0].detach().flatten(2).transpose(1, 2)


class Segmentor(nn.Module):
    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.decode_head = nn.ModuleDict({'conv_seg': nn.Conv2d(4, 3, 1)})
        self.decode_head.ignore_index = ignore_index


def test_confident_pixels() -> None:
    """The sum over confident pixels, divided by all pixels of the images."""
    student, teacher = maps()
    distiller = LogitDistiller('decode_head.conv_seg', **GATE)
    loss = check_step(distiller, student, teacher, make_batch([None, None], img_shape=(48, 64)))['loss_logit']
    s, t = student['logits'][0].detach()[:, :, :12], teacher['teacher_logits'][0][:, :, :12]
    confidence, label = t.softmax(dim=1).max(dim=1)
    confident = confidence >= 0.8
    expected = (F.cross_entropy(s, label, reduction='none') * confident).sum() / confident.numel()
    torch.testing.assert_close(loss, expected)
    gradient = student['logits'][0].grad
    assert gradient[:, :, 12:].abs().sum() == 0
    assert torch.equal(gradient[:, :, :12].abs().sum(dim=1) > 0, confident)
    torch.testing.assert_close(distiller.monitors()['selected'], confident.float().mean())


def test_ignored_pixels() -> None:
    """Cells whose first pixel has the label that the decode head ignores count neither above nor below."""
    student, teacher = maps(images=1)
    batch = make_batch([None])
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    labels[:, :, 32:] = 7
    batch.data_samples[0].gt_sem_seg = SimpleNamespace(data=labels)
    distiller = LogitDistiller('decode_head.conv_seg', **GATE)
    whole = check_step(distiller, student, teacher, batch)['loss_logit']
    distiller.check_models(Segmentor(ignore_index=7), Segmentor())
    assert distiller.ignore_index == 7
    half = check_step(distiller, student, teacher, batch)['loss_logit']
    s, t = student['logits'][0].detach()[..., :8], teacher['teacher_logits'][0][..., :8]
    confidence, label = t.softmax(dim=1).max(dim=1)
    expected = (F.cross_entropy(s, label, reduction='none') * (confidence >= 0.8)).sum() / confidence.numel()
    torch.testing.assert_close(half, expected)
    assert half != whole and student['logits'][0].grad[..., 8:].abs().sum() == 0
    # Labels that are cut off at the border of the image do not end the run.
    batch.data_samples[0].gt_sem_seg.data = labels[:, :40, :40]
    check_step(distiller, student, teacher, batch)


def test_samples_of_mmseg() -> None:
    """The padding that the data preprocessor adds counts for nothing."""
    structures = pytest.importorskip('mmseg.structures')
    pixels = pytest.importorskip('mmengine.structures').PixelData
    misc = pytest.importorskip('mmseg.utils')
    samples = [structures.SegDataSample() for _ in range(2)]
    for sample in samples:
        sample.gt_sem_seg = pixels(data=torch.zeros(1, 48, 64, dtype=torch.long))
    inputs, samples = misc.stack_batch([torch.zeros(3, 48, 64)] * 2, samples, size=(64, 64), seg_pad_val=255)
    student, teacher = maps()
    distiller = LogitDistiller('decode_head.conv_seg', **GATE)
    distiller.check_models(Segmentor(), Segmentor())
    loss = check_step(distiller, student, teacher, Batch(inputs, samples))['loss_logit']
    assert loss == check_step(distiller, student, teacher, make_batch([None, None], img_shape=(48, 64)))['loss_logit']


def test_hard_labels_without_selection_are_those_of_torch() -> None:
    student, teacher = maps()
    distiller = LogitDistiller('head', activation='softmax', target='hard')
    loss = check_step(distiller, student, teacher, make_batch([None, None]))['loss_logit']
    expected = F.cross_entropy(student['logits'][0].detach(), teacher['teacher_logits'][0].argmax(dim=1))
    torch.testing.assert_close(loss, expected)


def test_classifiers() -> None:
    """FixMatch: one location per image."""
    student, teacher = {'logits': [torch.randn(6, 4)]}, {'teacher_logits': [3 * torch.randn(6, 4)]}
    loss = check_step(LogitDistiller('head', **GATE), student, teacher, make_batch([None] * 6))['loss_logit']
    t = teacher['teacher_logits'][0]
    weight = t.softmax(dim=1).amax(dim=1) >= 0.8
    torch.testing.assert_close(
        loss, hard_label_loss(student['logits'][0].detach(), t, weight, torch.ones(6, dtype=torch.bool))
    )


def test_nothing_confident() -> None:
    student, teacher = maps()
    distiller = LogitDistiller('head', **{**GATE, 'select': dict(score=1.0)})
    assert check_step(distiller, student, teacher, make_batch([None, None]))['loss_logit'] == 0
    assert student['logits'][0].grad.abs().sum() == 0
    assert check_step(distiller, *maps(images=0), make_batch([]))['loss_logit'] == 0


@pytest.mark.parametrize('target', ['soft', 'hard'])
def test_truth_of_pixels(target: str) -> None:
    """The teacher teaches at the pixels whose label it predicts."""
    student, teacher = maps(images=1)
    batch = make_batch([None])
    distiller = LogitDistiller('head', activation='softmax', target=target, trust='truth')
    with sentence("trust is 'truth' and the batch has no gt_sem_seg; use it on images with labels"):
        distiller(student, teacher, batch)
    label = torch.randint(0, 3, (1, 16, 16), generator=torch.Generator().manual_seed(2))
    label[:, :2] = 255
    pixels = label.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    batch.data_samples[0].gt_sem_seg = SimpleNamespace(data=pixels)
    loss = check_step(distiller, student, teacher, batch)['loss_logit']
    s, t = student['logits'][0].detach(), teacher['teacher_logits'][0]
    right = t.argmax(dim=1) == label
    assert 0 < right.sum() < 256
    if target == 'hard':
        expected = (F.cross_entropy(s, t.argmax(dim=1), reduction='none') * right).sum() / 256
    else:
        expected = softmax_kl(s, t, 1.0)[right].mean()
    torch.testing.assert_close(loss, expected)
    assert torch.equal(student['logits'][0].grad.abs().sum(dim=1) > 0, right)


def test_truth_of_images() -> None:
    student, teacher = {'logits': [torch.randn(3, 4)]}, {'teacher_logits': [torch.eye(4)[:3] * 5]}
    batch = make_batch([None] * 3)
    distiller = LogitDistiller('head', activation='softmax', trust='truth')
    with sentence("trust is 'truth' and the batch has no gt_label"):
        distiller(student, teacher, batch)
    for index, label in ((0, 0), (1, 3)):
        batch.data_samples[index].gt_label = torch.tensor([label])
    loss = check_step(distiller, student, teacher, batch)['loss_logit']
    torch.testing.assert_close(loss, softmax_kl(student['logits'][0].detach(), teacher['teacher_logits'][0], 1.0)[0])
    assert (student['logits'][0].grad.abs().sum(dim=1) > 0).tolist() == [True, False, False]


@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
@pytest.mark.parametrize('trust', [None, 'agreement'])
def test_two_teachers(activation: str, trust: str | None) -> None:
    """The target is the mean of both in probability space, the weight falls with their divergence."""
    student, teacher = maps(teachers=2)
    options: dict[str, Any] = {'temperature': 2.0} if activation == 'softmax' else {}
    options |= {'trust': trust, 'tau': 0.2} if trust else {}
    distiller = LogitDistiller('head', activation=activation, source=['a', 'b'], **options)
    loss = check_step(distiller, student, teacher, make_batch([None, None]))['loss_logit']
    s, a, b = rows(student), rows(teacher, 'teacher_logits'), rows(teacher, 'b@teacher_logits')
    weight = torch.ones(2, 256) if trust is None else agreement([a, b], activation == 'softmax', 0.2)
    if activation == 'softmax':
        divergence = softmax_kl(s, mean_logits([a, b], True, 2.0), 2.0, dim=-1)
        torch.testing.assert_close(loss, (divergence * weight).sum() / weight.sum())
    else:
        y = (a.sigmoid() + b.sigmoid()) / 2
        focal = quality_focal(s, y.logit()).sum(dim=-1)
        torch.testing.assert_close(loss, (focal * weight).sum() / (y.amax(dim=-1) * weight).sum())


@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
def test_equal_teachers_are_one_teacher(activation: str) -> None:
    student, teacher = maps()
    twice = {**teacher, 'b@teacher_logits': teacher['teacher_logits']}
    options = {'activation': activation, 'select': dict(ratio=0.1)}
    batch = make_batch([None, None])
    one = check_step(LogitDistiller('head', **options), student, teacher, batch)
    two = check_step(LogitDistiller('head', source=['a', 'b'], trust='agreement', **options), student, twice, batch)
    torch.testing.assert_close(one, two)


def test_disagreement_pushes_nothing_to_zero() -> None:
    """Where one teacher sees an object and the other none, the student learns neither."""
    student, teacher = maps(images=1, teachers=2)
    for alias, value in (('teacher_logits', 8.0), ('b@teacher_logits', -8.0)):
        teacher[alias][0][:] = -8.0
        teacher[alias][0][..., :8] = value
    distiller = LogitDistiller('head', source=['a', 'b'], trust='agreement', select=dict(score=0.9), tau=0.05)
    check_step(distiller, student, teacher, make_batch([None]))
    left, right = student['logits'][0].grad.abs().split(8, dim=-1)
    assert left.sum() < 1e-4 * right.sum() and right.sum() > 0


def test_hard_labels_of_two_teachers() -> None:
    student, teacher = maps(teachers=2)
    distiller = LogitDistiller('head', source=['a', 'b'], **GATE)
    loss = check_step(distiller, student, teacher, make_batch([None, None]))['loss_logit']
    mean = sum(x[0].softmax(dim=1) for x in teacher.values()) / 2
    confidence, label = mean.max(dim=1)
    per_pixel = F.cross_entropy(student['logits'][0].detach(), label, reduction='none')
    torch.testing.assert_close(loss, (per_pixel * (confidence >= 0.8)).mean())


def test_majority_of_three_teachers() -> None:
    student, teacher = maps(teachers=3)
    options = {'source': ['a', 'b', 'c'], 'vote': 'majority', 'activation': 'softmax', 'target': 'hard'}
    distiller = LogitDistiller('head', **options)
    loss = check_step(distiller, student, teacher, make_batch([None, None]))['loss_logit']
    members = [x[0] for x in teacher.values()]
    votes = torch.stack([F.one_hot(x.argmax(dim=1), 3) for x in members]).sum(dim=0)
    share = (votes + torch.stack([x.softmax(dim=1) for x in members]).mean(dim=0).movedim(1, -1)) / 4
    entropy = F.cross_entropy(student['logits'][0].detach(), share.argmax(dim=-1), reduction='none')
    torch.testing.assert_close(loss, entropy.mean())
    gate = LogitDistiller('head', select=dict(score=0.6), **options)
    agreed = check_step(gate, student, teacher, make_batch([None, None]))['loss_logit']
    torch.testing.assert_close(agreed, (entropy * (share.amax(dim=-1) >= 0.6)).mean())


def test_sentences() -> None:
    for options, match in (
        ({'target': 'hard'}, "target is 'hard' with activation='sigmoid'"),
        ({'target': 'hard', 'activation': 'softmax', 'temperature': 2.0}, "temperature is 2.0 with target='hard'"),
        ({'target': 'harder'}, "target is 'harder'; nearest: 'hard'"),
        ({'trust': 'agreement'}, r"trust is 'agreement', which compares several teachers, and .*source is 'auto'"),
        ({'trust': 'agreements', 'source': ['a', 'b']}, "nearest: 'agreement'"),
        ({'tau': 0.0}, 'tau is 0.0'),
        ({'tau': 0.2, 'trust': 'teacher'}, "tau is 0.2, which trust='agreement' alone reads, and trust is 'teacher'"),
        ({'beta': 1.0, 'activation': 'softmax'}, "beta is 1.0 with activation='softmax', which has no such factor"),
        ({'vote': 'most'}, "vote is 'most'; nearest: 'majority'"),
        (
            {'vote': 'majority', 'source': ['a', 'b']},
            "vote is 'majority', .* it needs activation='softmax', target='hard'",
        ),
        ({'vote': 'majority', 'activation': 'softmax', 'target': 'hard'}, "vote is 'majority', .* several teachers"),
        (
            {'divergence': 'dist', 'source': ['a', 'b']},
            r"source is \['a', 'b'\] with divergence='dist', which learns from one teacher",
        ),
    ):
        with sentence(match):
            LogitDistiller('head', **options)
    student, teacher = maps(teachers=2)
    teacher['b@teacher_logits'] = [teacher['b@teacher_logits'][0][:, :2]]
    with sentence('the teacher predicts 2 classes where the student predicts 3'):
        LogitDistiller('head', source=['a', 'b']).initialize(student, teacher)


def _gradients(images: list[slice], options: dict[str, Any]) -> list[Tensor]:
    """Gradient of the share of one rank, or of the whole batch without ranks."""
    student, teacher = maps(images=4, teachers=2 if 'source' in options else 1)
    part = images[dist.get_rank()] if dist.is_initialized() else slice(None)
    level = student['logits'][0][part].clone().requires_grad_()
    target = {alias: [x[0][part]] for alias, x in teacher.items()}
    loss = LogitDistiller('head', **options)({'logits': [level]}, target, make_batch([None] * len(level)))
    return list(torch.autograd.grad(loss['loss_logit'], level))


@pytest.mark.distributed
@pytest.mark.parametrize('options', [GATE, dict(source=['a', 'b'], trust='agreement', select=dict(ratio=0.1))], ids=str)
def test_two_ranks_equal_one_process(tmp_path: Path, options: dict[str, Any]) -> None:
    images = [slice(0, 1), slice(1, 4)]
    ranks = on_two_ranks(tmp_path, _gradients, images, options)
    # DDP averages the gradients of the parameters over ranks, so each image's share is halved.
    torch.testing.assert_close(torch.cat([rank[0] for rank in ranks]) / 2, _gradients(images, options)[0])
