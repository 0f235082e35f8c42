from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.losses import DDFLoss, decoupled_distillation
from kd_plugins.registry import MODELS
from tests.losses.scene import Scene
from tests.losses.tester import LossTester
from tests.ranks import on_two_ranks


def literal(
    student: Tensor,
    teacher: Tensor,
    weight: Tensor,
    matched: Tensor,
    temperature: float = 5.0,
    counts: tuple[float, float] | None = None,
    sums: bool = False,
) -> Tensor:
    """One layer (K, 4, bins) by the letter of the release: groups picked out, each averaged, then balanced."""
    divergence = F.kl_div(
        (student / temperature).log_softmax(-1), (teacher / temperature).softmax(-1), reduction='none'
    ).sum(-1)
    terms = weight[:, None] * temperature**2 * divergence
    n = counts or (float(4 * matched.sum()), float(4 * (~matched).sum()))
    total = student.sum() * 0
    for count, group in zip(n, (terms[matched], terms[~matched])):
        if len(group):
            total = total + count**0.5 * (group.sum() if sums else group.mean())
    return total / max(n[0] ** 0.5 + n[1] ** 0.5, 1e-12)


def data(layers: int = 2, queries: int = 6, bins: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student (S, K, 4, bins), teacher (K, 4, bins), weight (S, K), matched (S, K) that differs between layers."""
    generator = torch.Generator().manual_seed(11)
    student = 2 * torch.randn(layers, queries, 4, bins, generator=generator, dtype=torch.float64)
    teacher = 2 * torch.randn(queries, 4, bins, generator=generator, dtype=torch.float64)
    weight = torch.rand(layers, queries, generator=generator, dtype=torch.float64)
    matched = torch.arange(layers * queries).view(layers, queries) % 5 < 2
    return student, teacher, weight, matched


class TestDecoupledDistillation(LossTester):
    shape = (6, 4, 5)
    temperature = 5.0

    def rest(self, like: Tensor) -> tuple[Tensor, Tensor]:
        weight = torch.tensor([0.5, 0.0, 1.0, 0.25, 0.75, 0.1]).repeat(len(like) // 6).to(like)
        return weight, torch.tensor([True, False, False, True, False, False]).repeat(len(like) // 6).to(like.device)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        weight, matched = self.rest(student)
        return decoupled_distillation(student[None], teacher, weight[None], matched, self.temperature)[0]

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        return literal(student, teacher, *self.rest(student), self.temperature)


class TestDecoupledDistillationAtTemperatureOne(TestDecoupledDistillation):
    temperature = 1.0


SCENES = {
    'some': ((5, 0, 2, 10), (1, 0, 1, 2)),
    'one image alone': ((5, 0), (1, 0)),
    'none': ((), ()),
    'all': (tuple(range(14)), (0, 1, 0, 1, 0, 1, 0, *[2] * 7)),
}


class TestTransformers:
    @pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=str)
    @pytest.mark.parametrize('rows', list(SCENES))
    def test_value_and_gradient(self, rows: str, dtype: torch.dtype) -> None:
        """``loss_ddf`` of ``loss_local``, with its weights: IoU of the matched, confidence of the others."""
        scene = Scene(*SCENES[rows])
        generator = torch.Generator().manual_seed(9)
        logits, teacher = (2 * torch.randn(2, 14, 4, 33, generator=generator, dtype=torch.float64)).to(dtype)
        scores = torch.randn(14, 3, generator=generator, dtype=torch.float64).to(dtype)
        leaf, expected_leaf = (logits.clone().requires_grad_() for _ in range(2))
        expected = scene.transformers(expected_leaf, teacher, scores, 5.0)['loss_ddf']
        matched = torch.zeros(14, dtype=torch.bool)
        matched[scene.rows] = True
        weight = scores.sigmoid().amax(-1)
        weight[scene.rows] = scene.their_quality().to(dtype)
        actual = DDFLoss(loss_weight=1.0)(leaf[None], teacher, weight[None], matched)[0]
        assert actual > 0.1
        # Roots of the counts, and their sum, are float32 in Transformers, which tells where both groups have queries.
        exact = 1e-9 if rows in ('none', 'all') else 1e-7
        tolerance = exact if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
        actual.backward()
        expected.backward()
        torch.testing.assert_close(leaf.grad, expected_leaf.grad, rtol=tolerance, atol=tolerance)

    def test_defaults(self) -> None:
        from inspect import signature

        reference = pytest.importorskip('transformers.loss.loss_d_fine')
        config = pytest.importorskip('transformers').DFineConfig()
        module = DDFLoss()
        assert module.loss_weight == config.weight_loss_ddf
        assert module.temperature == signature(reference.DFineLoss.loss_local).parameters['T'].default

    def test_denoising_queries_are_balanced_by_the_counts_of_the_release(self) -> None:
        """Without ``counts`` as in Transformers; the authors' release keeps the roots of the matching queries.

        Both store the roots as ``num_pos`` and ``num_neg`` of the criterion; Transformers computes them anew in every
        call, the release only where the queries are not for denoising.
        """
        matching, denoising = Scene(*SCENES['some']), Scene(*SCENES['one image alone'])
        generator = torch.Generator().manual_seed(9)
        logits, teacher = 2 * torch.randn(2, 14, 4, 33, generator=generator)
        scores = torch.randn(14, 3, generator=generator)
        matched = torch.zeros(14, dtype=torch.bool)
        matched[denoising.rows] = True
        weight = scores.sigmoid().amax(-1)
        weight[denoising.rows] = denoising.quality
        arguments = (logits[None], teacher, weight[None], matched)
        own = denoising.transformers(logits, teacher, scores, 5.0)['loss_ddf']
        torch.testing.assert_close(decoupled_distillation(*arguments)[0], own, rtol=1e-5, atol=1e-5)
        counts = (4.0 * len(matching.rows), 4.0 * (14 - len(matching.rows)))
        released = literal(logits, teacher, weight, matched, counts=counts)
        torch.testing.assert_close(decoupled_distillation(*arguments, counts=counts)[0], released, rtol=1e-5, atol=1e-5)
        assert abs(released - own) > 1e-3
        assert DDFLoss().denoising_counts == 'matching'


@pytest.mark.parametrize('normalizer', ['world', 'rank'])
@pytest.mark.parametrize('reduction', ['means', 'sums'])
@pytest.mark.parametrize('counts', [None, (3.0, 40.0), (0.0, 8.0)], ids=str)
def test_layers_by_hand(reduction: str, normalizer: str, counts: tuple[float, float] | None) -> None:
    student, teacher, weight, matched = data()
    actual = decoupled_distillation(
        student, teacher, weight, matched, reduction=reduction, counts=counts, normalizer=normalizer
    )
    assert actual.shape == (2,)
    for layer in range(2):
        expected = literal(
            student[layer], teacher, weight[layer], matched[layer], counts=counts, sums=reduction == 'sums'
        )
        torch.testing.assert_close(actual[layer], expected)


def test_counts_as_numbers_tensors_or_per_layer() -> None:
    student, teacher, weight, matched = data()
    expected = decoupled_distillation(student, teacher, weight, matched, counts=(3.0, 40.0))
    forms: list[Any] = [
        (3, 40),
        (torch.tensor(3), torch.tensor(40)),
        (torch.tensor([3.0, 3.0]), torch.tensor(40.0)),
        (6.0, 80.0),  # only the ratio matters
    ]
    for counts in forms:
        torch.testing.assert_close(decoupled_distillation(student, teacher, weight, matched, counts=counts), expected)


@pytest.mark.parametrize('reduction', ['means', 'sums'])
@pytest.mark.parametrize('state', [True, False], ids=['all matched', 'none matched'])
def test_one_group_alone(state: bool, reduction: str) -> None:
    student, teacher, weight, matched = data()
    matched = torch.full_like(matched, state)
    actual = decoupled_distillation(student.requires_grad_(), teacher, weight, matched, reduction=reduction)
    actual.sum().backward()
    plain = literal(student[0].detach(), teacher, weight[0], matched[0], sums=reduction == 'sums')
    torch.testing.assert_close(actual[0].detach(), plain)
    assert student.grad is not None and student.grad.isfinite().all() and student.grad.abs().sum() > 0


@pytest.mark.parametrize('normalizer', ['world', 'rank'])
@pytest.mark.parametrize('reduction', ['means', 'sums'])
@pytest.mark.parametrize('counts', [None, (0.0, 0.0)], ids=str)
def test_no_queries_keep_a_graph(reduction: str, normalizer: str, counts: tuple[float, float] | None) -> None:
    student = torch.zeros(3, 0, 4, 5, requires_grad=True)
    actual = decoupled_distillation(
        student,
        torch.zeros(0, 4, 5),
        torch.zeros(3, 0),
        torch.zeros(0, dtype=torch.bool),
        reduction=reduction,
        counts=counts,
        normalizer=normalizer,
    )
    assert actual.tolist() == [0.0, 0.0, 0.0]
    actual.sum().backward()
    assert student.grad is not None


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_student_that_is_the_teacher(dtype: torch.dtype) -> None:
    """As in the first step, where the heads are zero, and in the last layer of denoising queries: the key stays."""
    _, teacher, weight, matched = data()
    for logits in (teacher.to(dtype), torch.zeros_like(teacher, dtype=dtype)):
        student = torch.stack([logits, logits]).requires_grad_()
        actual = decoupled_distillation(student, logits, weight, matched)
        assert actual.tolist() == [0.0, 0.0]
        actual.sum().backward()
        assert student.grad is not None
        torch.testing.assert_close(student.grad, torch.zeros_like(student), rtol=0, atol=1e-6)


def test_gradient_reaches_the_teacher_only_if_asked() -> None:
    student, teacher, weight, matched = data()
    student.requires_grad_()
    teacher.requires_grad_()
    weight.requires_grad_()
    decoupled_distillation(student, teacher, weight, matched).sum().backward()
    assert teacher.grad is None and weight.grad is None
    decoupled_distillation(student, teacher, weight, matched, detach_teacher=False).sum().backward()
    assert teacher.grad is not None and teacher.grad.abs().sum() > 0 and weight.grad is None


@pytest.mark.parametrize('reduction', ['means', 'sums'])
def test_gradcheck(reduction: str) -> None:
    student, teacher, weight, matched = data(2, 3, 4)
    assert torch.autograd.gradcheck(
        lambda s, t: decoupled_distillation(s, t, weight, matched, 2.0, reduction, detach_teacher=False),
        (student.requires_grad_(), teacher.requires_grad_()),
    )


def test_means_do_not_depend_on_the_size_of_the_batch_but_sums_do() -> None:
    student, teacher, weight, matched = data()
    once = (student, teacher, weight, matched)
    twice = (student.repeat(1, 2, 1, 1), teacher.repeat(2, 1, 1), weight.repeat(1, 2), matched.repeat(1, 2))
    torch.testing.assert_close(decoupled_distillation(*twice), decoupled_distillation(*once))
    torch.testing.assert_close(
        decoupled_distillation(*twice, reduction='sums'), 2 * decoupled_distillation(*once, reduction='sums')
    )


def test_module() -> None:
    arguments = dict(temperature=2.0, reduction='sums', normalizer='rank', detach_teacher=False)
    module = MODELS.build({'type': 'kd_plugins.DDFLoss', 'loss_weight': 3.0, 'denoising_counts': 'own', **arguments})
    student, teacher, weight, matched = data()
    teacher.requires_grad_()
    actual = module(student, teacher, weight, matched, counts=(1.0, 2.0))
    expected = decoupled_distillation(student, teacher, weight, matched, counts=(1.0, 2.0), **arguments)
    assert torch.equal(actual, 3.0 * expected) and actual.requires_grad
    assert module.denoising_counts == 'own'


@pytest.mark.parametrize(
    ('key', 'value', 'words'),
    [
        ('reduction', 'mean', "reduction is 'mean'; nearest: 'means'"),
        ('normalizer', 'word', "normalizer is 'word'; nearest: 'world'"),
        ('denoising_counts', 'match', "denoising_counts is 'match'; nearest: 'matching'"),
        ('temperature', 0.0, 'temperature is 0.0; it must be a finite number > 0, such as 5.0'),
    ],
)
def test_invalid_arguments(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DDFLoss(**{key: value})
    assert str(caught.value) == f'DDFLoss.{words}'


CASES: dict[str, dict[str, Any]] = {
    'means': {},
    'sums': {'reduction': 'sums'},
    'one group on each rank': {'matched': True},
    'counts': {'counts': True},
    'sums, counts': {'counts': True, 'reduction': 'sums'},
}


def _losses(part: slice) -> tuple[Tensor, dict[str, Tensor]]:
    """All cases for some of the queries, with the number of queries on this rank as the counts of another branch."""
    student, teacher, weight, matched = data()
    student, teacher, weight, matched = student[:, part].clone(), teacher[part], weight[:, part], matched[:, part]
    student.requires_grad_()
    losses = {}
    for name, case in CASES.items():
        arguments = dict(case)
        mask = torch.arange(6)[part] < 2 if arguments.pop('matched', False) else matched
        if arguments.pop('counts', False):
            arguments['counts'] = (3.0 * (part.stop - part.start), 5.0 * part.start + 1.0 * (part.stop == 6))
        losses[name] = decoupled_distillation(student, teacher, weight, mask, **arguments)
    return student, losses


def _share(parts: list[slice]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    student, losses = _losses(parts[dist.get_rank()])
    grads = {name: torch.autograd.grad(loss.sum(), student)[0] for name, loss in losses.items()}
    return grads, {name: loss.detach() for name, loss in losses.items()}


@pytest.mark.distributed
@pytest.mark.parametrize('split', [2, 0], ids=['2+4', '0+6'])
def test_two_ranks_equal_one_process(tmp_path: Path, split: int) -> None:
    parts = [slice(0, split), slice(split, 6)]
    ranks = on_two_ranks(tmp_path, _share, parts)
    student, losses = _losses(slice(0, 6))
    if split:  # the counts that the two ranks gave, together
        _, teacher, weight, matched = data()
        for name in ('counts', 'sums, counts'):
            arguments = {**CASES[name], 'counts': (18.0, 11.0)}
            losses[name] = decoupled_distillation(student, teacher, weight, matched, **arguments)
    for name, loss in losses.items():
        (whole,) = torch.autograd.grad(loss.sum(), student)
        # DDP averages the gradients of the parameters over ranks, so each query's share is halved.
        halves = torch.cat([grads[name] for grads, _ in ranks], dim=1) / 2
        torch.testing.assert_close(halves, whole, msg=lambda text, name=name: f'{name}: {text}')
        torch.testing.assert_close((ranks[0][1][name] + ranks[1][1][name]) / 2, loss.detach())
