"""LogitDistiller with selected locations and trust in the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_plugins.distillers import Batch, LogitDistiller
from kd_plugins.losses import quality_focal, quality_focal_kd_loss, softmax_kl
from tests.distillers.common import check_step, make_batch, sentence
from tests.losses.golden import cosines, sines
from tests.ranks import on_two_ranks

SIZES = [(8, 8), (4, 4)]
RATIO = {'ratio': 0.1, 'others': 'ignore'}


def taps(images: int = 2, classes: int = 3, seed: int = 0) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        [torch.randn(images, classes, *size, generator=generator) * 2 for size in SIZES] for _ in range(2)
    )
    return {'logits': student}, {'teacher_logits': teacher}


def rows(levels: list[Tensor]) -> Tensor:
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def run(distiller: LogitDistiller, student: dict, teacher: dict, batch: Batch) -> Tensor:
    return check_step(distiller, student, teacher, batch)['loss_logit']


def test_value_of_dense_teacher() -> None:
    """The golden value of tests/losses/test_dense.py, here with classes before the places of a map of 3 x 4."""
    student, teacher = (x.T.reshape(1, 4, 3, 4).contiguous() for x in (3 * sines(12, 4), 3 * cosines(12, 4) - 2))
    distiller = LogitDistiller('head', select=dict(ratio=0.25))
    loss = run(distiller, {'logits': [student]}, {'teacher_logits': [teacher]}, make_batch([None]))
    torch.testing.assert_close(loss, torch.tensor(16.794502))
    torch.testing.assert_close(distiller.monitors()['selected'], torch.tensor(0.25))


@pytest.mark.parametrize('others', ['zero', 'teacher', 'ignore'])
def test_others(others: str) -> None:
    student, teacher = taps()
    distiller = LogitDistiller('head', select=dict(ratio=0.1, others=others))
    loss = run(distiller, student, teacher, make_batch([None, None]))
    s, t = rows(student['logits']).detach(), rows(teacher['teacher_logits'])
    confidence = t.sigmoid().amax(dim=-1)
    selected = confidence >= confidence.flatten().topk(16).values[-1]  # 160 locations
    total = quality_focal(s, t)[selected].sum()
    if others != 'ignore':
        total += quality_focal(s, torch.full_like(t, -200.0) if others == 'zero' else t)[~selected].sum()
    torch.testing.assert_close(loss, total / confidence[selected].sum())
    gradient = rows([level.grad for level in student['logits']])[~selected]
    assert (gradient.abs().sum() > 0) == (others != 'ignore')
    if others == 'zero':
        assert (gradient >= 0).all()  # a step lowers every class


def test_everything_selected_is_the_plain_loss() -> None:
    student, teacher = taps()
    batch = make_batch([None, None])
    expected = run(LogitDistiller('head'), student, teacher, batch)
    for select in (dict(ratio=1.0), dict(score=0.0)):
        torch.testing.assert_close(run(LogitDistiller('head', select=select), student, teacher, batch), expected)


@pytest.mark.parametrize('trust', ['teacher', 'difference'])
def test_trust(trust: str) -> None:
    student, teacher = taps()
    loss = run(LogitDistiller('head', trust=trust), student, teacher, make_batch([None, None]))
    s, t = rows(student['logits']).detach(), rows(teacher['teacher_logits'])
    weight = t.sigmoid() if trust == 'teacher' else (t.sigmoid() - s.sigmoid()).abs()
    weight = weight.amax(dim=-1)
    expected = (quality_focal(s, t).sum(dim=-1) * weight).sum() / (t.sigmoid().amax(dim=-1) * weight).sum()
    torch.testing.assert_close(loss, expected)


def test_truth() -> None:
    """A teacher that is wrong inside the only box of an image teaches nothing there."""
    student, teacher = taps(images=1)
    for level in teacher['teacher_logits']:
        level[:] = torch.tensor([3.0, -5.0, -5.0])[:, None, None]
    batch = make_batch([[[-1.0, -1.0, 31.0, 99.0]]])
    losses = []
    for label in (0, 1):
        batch.data_samples[0].gt_instances.labels = torch.tensor([label])
        losses.append(run(LogitDistiller('head', trust='truth'), student, teacher, batch))
        left, right = (student['logits'][0].grad[..., part].abs().sum() for part in (slice(0, 4), slice(4, 8)))
        # Outside the box the teacher sees an object that is not there.
        assert (left > 0) == (label == 0) and right == 0
    assert losses[0] > 0 and losses[1] == 0


@pytest.mark.parametrize('anchors', [9, 1])
def test_truth_is_that_of_the_best_anchor(anchors: int) -> None:
    """Class 2 of 3, or the one class of an RPN, whose labels are those of the whole detector."""
    classes = 3 if anchors > 1 else 1
    head = nn.Module()
    head.num_base_priors, head.cls, detector = anchors, nn.Identity(), nn.Module()
    detector.head = head
    distiller = LogitDistiller('head.cls', trust='truth')
    distiller.check_models(detector, nn.ModuleDict({'head': head}))
    student, teacher = taps(1, anchors * classes)
    for level in teacher['teacher_logits']:
        level -= 20.0
        level[:, (anchors - 1) * classes + classes - 1, :, : level.shape[3] // 2] = 4.0
    batch = make_batch([[[-1.0, -1.0, 65.0, 65.0]]])
    batch.samples[0].gt_instances.labels = torch.tensor([2])
    distiller.initialize(student, teacher)
    run(distiller, student, teacher, batch)
    for level in student['logits']:
        assert level.grad[..., : level.shape[3] // 2].all()
    if anchors > 1:
        batch.samples[0].gt_instances.labels = torch.tensor([1])
        run(distiller, student, teacher, batch)
        assert not any(level.grad[..., : level.shape[3] // 2].any() for level in student['logits'])


def test_truth_with_zeros_spares_objects_that_the_teacher_misses() -> None:
    student, teacher = taps(images=1)
    for level in teacher['teacher_logits']:
        level[:] = torch.tensor([-4.0, -3.0, -5.0])[:, None, None]  # argmax 1 and no confidence
    batch = make_batch([[[-1.0, -1.0, 31.0, 99.0]]])
    batch.data_samples[0].gt_instances.labels = torch.tensor([0])
    run(LogitDistiller('head', trust='truth', select=dict(score=0.5)), student, teacher, batch)
    gradient = student['logits'][0].grad
    assert gradient[..., :4].abs().sum() == 0 and (gradient[..., 4:] > 0).all()


@pytest.mark.parametrize('options', [dict(select=RATIO), dict(select=dict(ratio=0.1)), dict(trust='teacher')], ids=str)
def test_padding(options: dict[str, Any]) -> None:
    student, teacher = taps()
    batch = make_batch([None, None], img_shape=(32, 64))
    distiller = LogitDistiller('head', **options)
    loss = run(distiller, student, teacher, batch)
    grad = student['logits'][0].grad
    assert grad[:, :, 4:].abs().sum() == 0 and grad[:, :, :4].abs().sum() > 0
    for levels in (student['logits'], teacher['teacher_logits']):
        for level in levels:
            level.data[:, :, level.shape[2] // 2 :] = 9.0
    assert run(distiller, student, teacher, batch) == loss
    # The same images without padding.
    cropped = [
        {name: [x.detach()[:, :, : x.shape[2] // 2] for x in levels] for name, levels in side.items()}
        for side in (student, teacher)
    ]
    smaller = Batch(torch.zeros(2, 3, 32, 64), batch.data_samples)
    torch.testing.assert_close(run(distiller, *cropped, smaller), loss)


def test_nothing_selected() -> None:
    student, teacher = taps()
    for select in (dict(score=1.0, others='ignore'), RATIO):
        shape = (64, 64) if 'score' in select else (0, 0)
        batch = make_batch([None, None], img_shape=shape)
        assert run(LogitDistiller('head', select=select), student, teacher, batch) == 0
    # Where nothing is confident, every location learns that there is no class.
    zero = run(LogitDistiller('head', select=dict(score=1.0)), student, teacher, make_batch([None, None]))
    assert zero > 0 and all((level.grad >= 0).all() for level in student['logits'])


@pytest.mark.parametrize('shape', [(0, 3, 8, 8), (2, 3, 0, 4), (2, 3), (2, 3, 4, 4, 4)], ids=str)
def test_small_batches_and_other_shapes(shape: tuple[int, ...]) -> None:
    for options in (dict(select=dict(ratio=0.5)), dict(select=RATIO, activation='softmax'), dict(trust='difference')):
        student, teacher = {'logits': [torch.randn(shape)]}, {'teacher_logits': [torch.randn(shape)]}
        run(LogitDistiller('head', **options), student, teacher, make_batch([None] * shape[0]))


def test_softmax() -> None:
    student, teacher = taps()
    distiller = LogitDistiller('head', activation='softmax', temperature=2.0, select=dict(score=0.9), trust='teacher')
    loss = run(distiller, student, teacher, make_batch([None, None]))
    s, t = rows(student['logits']).detach(), rows(teacher['teacher_logits'])
    confidence = t.softmax(dim=-1).amax(dim=-1)
    weight = confidence * (confidence >= 0.9)
    assert 0 < weight.gt(0).sum() < 160
    torch.testing.assert_close(loss, (softmax_kl(s, t, 2.0, dim=-1) * weight).sum() / weight.sum())


def test_queries() -> None:
    """(N, L, C) has no cells, so no location lies on padding."""
    student, teacher = ({name: [torch.randn(2, 9, 5)]} for name in ('logits', 'teacher_logits'))
    batch = make_batch([None, None], img_shape=(1, 1))
    loss = run(LogitDistiller('head', class_dim=2, select=dict(score=0.0)), student, teacher, batch)
    expected = quality_focal_kd_loss(student['logits'], teacher['teacher_logits'], class_dim=2)
    torch.testing.assert_close(loss, expected)
    with sentence("trust is 'truth' and the outputs are no maps"):
        run(LogitDistiller('head', class_dim=2, trust='truth'), student, teacher, batch)


@pytest.mark.parametrize('options', [dict(select=dict(ratio=0.1)), dict(select=RATIO, activation='softmax')], ids=str)
def test_gradcheck(options: dict[str, Any]) -> None:
    student, teacher = taps(images=1, classes=2)
    distiller, batch = LogitDistiller('head', **options), make_batch([None])
    target = {'teacher_logits': [level.double() for level in teacher['teacher_logits']]}

    def loss(*levels: Tensor) -> Tensor:
        return distiller({'logits': levels}, target, batch)['loss_logit']

    levels = [level.double().requires_grad_() for level in student['logits']]
    assert torch.autograd.gradcheck(loss, levels, fast_mode=True)


def test_config_sentences() -> None:
    with sentence("select.others is 'zero'; valid: 'ignore'"):
        LogitDistiller('head', activation='softmax', select=dict(ratio=0.1, others='zero'))
    assert not LogitDistiller('head').monitors()


def _gradients(images: list[slice], options: dict[str, Any]) -> list[Tensor]:
    """Gradients of the share of one rank, or of the whole batch without ranks."""
    student, teacher = taps(images=4)
    part = images[dist.get_rank()] if dist.is_initialized() else slice(None)
    levels = [level[part].clone().requires_grad_() for level in student['logits']]
    target = {'teacher_logits': [level[part] for level in teacher['teacher_logits']]}
    loss = LogitDistiller('head', **options)({'logits': levels}, target, make_batch([None] * len(levels[0])))
    return list(torch.autograd.grad(loss['loss_logit'], levels))


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    images = [slice(0, 1), slice(1, 4)]
    for number, options in enumerate((dict(select=dict(ratio=0.02)), dict(select=dict(score=0.9), trust='difference'))):
        folder = tmp_path / str(number)
        folder.mkdir()
        ranks = on_two_ranks(folder, _gradients, images, options)
        for level, whole in enumerate(_gradients(images, options)):
            # DDP averages the gradients of the parameters over ranks, so each image's share is halved.
            torch.testing.assert_close(torch.cat([rank[level] for rank in ranks]) / 2, whole)
