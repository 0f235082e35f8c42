"""Keypoint distillers with a selection of joints, and with two teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from kd_plugins.distillers import HeatmapDistiller, SimCCDistiller
from kd_plugins.distillers.keypoint import KeypointDistiller
from kd_plugins.losses import keypoint_kl
from kd_plugins.ops.probabilities import jensen_shannon
from tests.distillers.common import check_step, sentence
from tests.distillers.keypoint.estimators import JOINTS, WEIGHT, labelled
from tests.ranks import on_two_ranks

KINDS = ['heatmap', 'simcc']
BETA = 4.0
ALIASES = {'heatmap': ['heatmap'], 'simcc': ['x', 'y']}
SHAPES = {'heatmap': [(3, 4)], 'simcc': [(6,), (8,)]}


def distiller_of(kind: str, **options: Any) -> KeypointDistiller:
    return (HeatmapDistiller if kind == 'heatmap' else SimCCDistiller)(beta=BETA, **options)


def taps(kind: str, images: int = 2, teachers: int = 1) -> tuple[dict, dict]:
    """Outputs of a student and of teachers with values in [0, 1]."""
    generator = torch.Generator().manual_seed(3)
    student: dict = {}
    teacher: dict = {}
    for alias, shape in zip(ALIASES[kind], SHAPES[kind]):
        student[alias], *taught = (
            [torch.rand(images, JOINTS, *shape, generator=generator)] for _ in range(1 + teachers)
        )
        teacher.update({f'{prefix}teacher_{alias}': x for prefix, x in zip(('', 'b@'), taught)})
    return student, teacher


def axes(tapped: dict) -> list[Tensor]:
    return [tensors[0].detach().flatten(2) for tensors in tapped.values()]


def peaks(kind: str, teacher: dict) -> Tensor:
    """The scores that the documentation names."""
    if kind == 'heatmap':
        return axes(teacher)[0].amax(dim=-1)
    return torch.stack([(BETA * axis).softmax(dim=-1).amax(dim=-1) for axis in axes(teacher)]).amin(dim=0)


def middle(kind: str, teacher: dict) -> float:
    return float(peaks(kind, teacher).median())


@pytest.mark.parametrize('visible_only', [False, True])
@pytest.mark.parametrize('reduction', ['task', 'mean'])
@pytest.mark.parametrize('kind', KINDS)
def test_joints_that_count(kind: str, reduction: str, visible_only: bool) -> None:
    student, teacher = taps(kind)
    score = middle(kind, teacher)
    distiller = distiller_of(kind, reduction=reduction, visible_only=visible_only, select=dict(score=score))
    loss = check_step(distiller, student, teacher, labelled(WEIGHT))['loss_kpt']
    counted = peaks(kind, teacher) >= score
    assert 0 < counted.sum() < counted.numel()
    weight = WEIGHT if visible_only else torch.ones_like(WEIGHT)
    mean = 'mean' if kind == 'heatmap' else reduction
    expected = keypoint_kl(axes(student), axes(teacher), BETA, weight, mean, counted)
    expected = expected / 12 if kind == 'heatmap' and reduction == 'task' else expected
    torch.testing.assert_close(loss, expected)
    gradient = next(iter(student.values()))[0].grad.flatten(2).abs().sum(dim=-1)
    assert torch.equal(gradient > 0, counted & (weight > 0))
    share = (counted & (weight > 0)).sum() / (weight > 0).sum()
    torch.testing.assert_close(distiller.monitors()['selected'], share)


@pytest.mark.parametrize('kind', KINDS)
def test_share_of_the_joints(kind: str) -> None:
    student, teacher = taps(kind)
    distiller = distiller_of(kind, select=dict(ratio=0.5))
    check_step(distiller, student, teacher, labelled(None))
    torch.testing.assert_close(distiller.monitors()['selected'], torch.tensor(0.5), atol=0.1, rtol=0)


@pytest.mark.parametrize('reduction', ['task', 'mean'])
@pytest.mark.parametrize('kind', KINDS)
def test_everything_selected_is_the_plain_loss(kind: str, reduction: str) -> None:
    student, teacher = taps(kind)
    plain = check_step(distiller_of(kind, reduction=reduction), student, teacher, labelled(None))
    distiller = distiller_of(kind, reduction=reduction, select=dict(score=0.0))
    torch.testing.assert_close(check_step(distiller, student, teacher, labelled(None)), plain)


@pytest.mark.parametrize('kind', KINDS)
def test_joints_that_do_not_count_change_nothing(kind: str) -> None:
    student, teacher = taps(kind)
    score = middle(kind, teacher)
    distiller = distiller_of(kind, select=dict(score=score))
    loss = check_step(distiller, student, teacher, labelled(None))['loss_kpt']
    others = peaks(kind, teacher) < score
    for levels in student.values():
        levels[0].data[others] = 7.0
    torch.testing.assert_close(check_step(distiller, student, teacher, labelled(None))['loss_kpt'], loss)


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_selected(kind: str) -> None:
    student, teacher = taps(kind)
    distiller = distiller_of(kind, select=dict(score=1.0))
    assert check_step(distiller, student, teacher, labelled(None))['loss_kpt'] == 0
    assert distiller.monitors()['selected'] == 0
    assert check_step(distiller, *taps(kind, images=0), labelled(WEIGHT[:0]))['loss_kpt'] == 0
    distiller = distiller_of(kind, select=dict(ratio=0.5), visible_only=True)
    assert check_step(distiller, student, teacher, labelled(torch.zeros(2, JOINTS)))['loss_kpt'] == 0


def test_height_is_relative_to_the_codec() -> None:
    student, teacher = taps('heatmap')
    distiller = HeatmapDistiller(select=dict(score=0.9))
    distiller.teacher_peak = 255.0
    teacher['teacher_heatmap'][0] *= 255
    check_step(distiller, student, teacher, labelled(None))
    counts = distiller.regions.counts
    assert counts is not None and counts[0] == (peaks('heatmap', teacher) >= 0.9 * 255).sum()


def test_the_last_stage_decides() -> None:
    low, high = torch.full((1, JOINTS, 3, 4), 0.1), torch.full((1, JOINTS, 3, 4), 0.9)
    for stages, selected in (([low, high], 1.0), ([high, low], 0.0)):
        distiller = HeatmapDistiller('head.predict_layers.*', select=dict(score=0.5))
        student = {'heatmap': [torch.rand(1, JOINTS, 3, 4) for _ in range(2)]}
        check_step(distiller, student, {'teacher_heatmap': stages}, labelled(None, 1))
        assert distiller.monitors()['selected'] == selected


def test_score_of_simcc_ignores_the_level() -> None:
    """Logits are free up to a constant along an axis, and so is what counts."""
    student, teacher = taps('simcc')
    distiller = distiller_of('simcc', select=dict(score=0.999 * middle('simcc', teacher)))
    loss = check_step(distiller, student, teacher, labelled(None))['loss_kpt']
    shifted = {alias: [tensors[0] + 3.0] for alias, tensors in teacher.items()}
    torch.testing.assert_close(check_step(distiller, student, shifted, labelled(None))['loss_kpt'], loss)


@pytest.mark.parametrize(('sigma', 'bins', 'peak'), [(4.9, 384, 0.25), (5.66, 512, 0.21)])
def test_score_of_the_targets_of_rtmpose(sigma: float, bins: int, peak: float) -> None:
    """The numbers of the documentation, with beta=10 at 256x192; a peak of half the height has half the score."""
    target = torch.exp(-((torch.arange(bins) - bins // 2) ** 2) / (2 * sigma**2))
    for height, share in ((1.0, 1.0), (0.5, 0.5)):
        score = float((10 * height * target).softmax(dim=0).max())
        assert score == pytest.approx(share * peak, abs=0.01)


@pytest.mark.parametrize('trust', [None, 'agreement'])
@pytest.mark.parametrize('kind', KINDS)
def test_two_teachers(kind: str, trust: str | None) -> None:
    """The target is the mean of both distributions, the weight falls with their divergence."""
    student, teacher = taps(kind, teachers=2)
    options = {'trust': trust, 'tau': 0.05} if trust else {}
    distiller = distiller_of(kind, reduction='mean', source=['a', 'b'], **options)
    loss = check_step(distiller, student, teacher, labelled(None))['loss_kpt']
    count = len(ALIASES[kind])
    logits = [BETA * axis for axis in axes(teacher)]
    # The teachers' taps alternate, axis by axis.
    first, second = logits[::2], logits[1::2]
    divergence, apart = torch.zeros(2, JOINTS), torch.zeros(2, JOINTS)
    for s, a, b in zip(axes(student), first, second):
        p, log_q = (a.softmax(-1) + b.softmax(-1)) / 2, (BETA * s).log_softmax(-1)
        divergence += (p * (p.log() - log_q)).sum(-1)
        apart += jensen_shannon([a, b], softmax=True) / count
    weight = torch.ones(2, JOINTS) if trust is None else (-apart / 0.05).exp()
    torch.testing.assert_close(loss, (divergence * weight).sum() / weight.sum().clamp(min=1))


def test_sentences() -> None:
    with sentence(r"reduction is 'reference', which counts all joints, with select or trust; use 'task' or 'mean'"):
        SimCCDistiller(reduction='reference', select=dict(score=0.1))
    for kind in KINDS:
        with sentence("trust is 'agreement', which compares several teachers"):
            distiller_of(kind, trust='agreement')
        with sentence("tau is 0.2, which trust='agreement' alone reads, and trust is 'truth'; leave it out"):
            distiller_of(kind, trust='truth', tau=0.2)
        with sentence("distance is 0.1, which trust='truth' alone reads, and trust is None; leave it out"):
            distiller_of(kind, distance=0.1)
        with sentence("trust is 'teacher'; valid: 'truth', 'agreement'"):
            distiller_of(kind, trust='teacher')
        with sentence("select.others is 'zero'; valid: 'ignore'"):
            distiller_of(kind, select=dict(score=0.1, others='zero'))
        with sentence("source has 'student', and a list holds the names of at least two different teachers"):
            distiller_of(kind, source=['a', 'student'])


def _gradients(images: list[slice], kind: str, options: dict[str, Any]) -> list[Tensor]:
    """Gradients of the share of one rank, or of the whole batch without ranks."""
    student, teacher = taps(kind, images=4, teachers=2 if 'source' in options else 1)
    part = images[dist.get_rank()] if dist.is_initialized() else slice(None)
    leaves = {alias: [tensors[0][part].clone().requires_grad_()] for alias, tensors in student.items()}
    target = {alias: [tensors[0][part]] for alias, tensors in teacher.items()}
    loss = distiller_of(kind, **options)(leaves, target, labelled(None))['loss_kpt']
    return list(torch.autograd.grad(loss, [tensors[0] for tensors in leaves.values()]))


@pytest.mark.distributed
@pytest.mark.parametrize('kind', KINDS)
def test_two_ranks_equal_one_process(tmp_path: Path, kind: str) -> None:
    images = [slice(0, 1), slice(1, 4)]
    options = dict(select=dict(ratio=0.3), reduction='mean', source=['a', 'b'], trust='agreement')
    ranks = on_two_ranks(tmp_path, _gradients, images, kind, options)
    for axis, whole in enumerate(_gradients(images, kind, options)):
        # DDP averages the gradients of the parameters over ranks, so each image's share is halved.
        torch.testing.assert_close(torch.cat([rank[axis] for rank in ranks]) / 2, whole)
