from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch
from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.session import DistillSession
from kd_plugins.losses import decoupled_distillation
from kd_plugins.taps import TapSet
from tests.distillers.stages import BATCH, BINS, TwoStages, distiller, images, outputs, value

ROOT = Path(__file__).resolve().parents[2]


def by_hand(stages: list[Tensor], weights: list[float], temperature: float) -> Tensor:
    """The definition for stages (K, 4 * bins): stage by stage, location by location, edge by edge."""
    per_stage = []
    for stage in stages[:-1]:
        total = 0.0
        for index, weight in enumerate(weights):
            for edge in range(4):
                part = slice(edge * BINS, (edge + 1) * BINS)
                p = (stages[-1].detach()[index, part].double() / temperature).softmax(0)
                q = (stage.detach()[index, part].double() / temperature).softmax(0)
                total += weight * temperature**2 * float((p * (p / q).log()).sum()) / 4
        per_stage.append(total / sum(weights))
    return torch.tensor(sum(per_stage) / len(per_stage))


@pytest.mark.parametrize('stages', [2, 3])
@pytest.mark.parametrize('activation', [None, 'sigmoid', 'softmax'])
def test_value_by_hand(stages: int, activation: str | None) -> None:
    logits, weights, scores = outputs(5, 4 * BINS, stages=stages), [1.0] * 5, None
    options: dict[str, Any] = {'temperature': 2.0}
    if activation is not None:
        scores = [torch.randn(5, 3, generator=torch.Generator().manual_seed(9))]
        exp = scores[0].double().exp()
        everything = exp / (1 + exp) if activation == 'sigmoid' else exp / exp.sum(1, keepdim=True)
        columns = 3 if activation == 'sigmoid' else 2  # the last of a softmax is the background
        weights = [max(row[:columns]) for row in everything.tolist()]
        options |= {'scores': 'head.cls', 'activation': activation}
    actual = value(distiller(**options), logits, scores)
    torch.testing.assert_close(actual, by_hand(logits, weights, 2.0))
    assert actual > 0.01


def test_accumulated_increments_are_their_sums() -> None:
    steps = outputs(5, 4 * BINS)
    sums = [steps[0], steps[0] + steps[1], steps[0] + steps[1] + steps[2]]
    actual = value(distiller(accumulate=True), steps)
    torch.testing.assert_close(actual, value(distiller(), sums))
    assert not torch.isclose(actual, value(distiller(), steps))


@pytest.mark.parametrize('accumulate', [False, True])
def test_gradient_reaches_all_stages_but_the_last(accumulate: bool) -> None:
    logits, scores = outputs(5, 4 * BINS), outputs(5, 3, stages=1)
    value(distiller(accumulate=accumulate, scores='head.cls'), logits, scores).backward()
    *earlier, last = logits
    assert all(stage.grad is not None and stage.grad.abs().sum() > 0 for stage in earlier)
    assert last.grad is None and scores[0].grad is None


@pytest.mark.parametrize('accumulate', [False, True])
def test_gradcheck(accumulate: bool) -> None:
    *earlier, last = [stage.detach().double().requires_grad_() for stage in outputs(2, 4 * BINS)]
    made = distiller(accumulate=accumulate)
    if accumulate:
        # The teacher contains the earlier increments and stays a constant: a finite difference would move it.
        sums = [earlier[0], earlier[0] + earlier[1]]
        teacher = (sums[1] + last).detach()
        plain = distiller()
        expected = torch.autograd.grad(plain({'logits': [*sums, teacher]}, {}, BATCH)['loss_stages'], earlier)
        actual = torch.autograd.grad(made({'logits': [*earlier, last]}, {}, BATCH)['loss_stages'], earlier)
        torch.testing.assert_close(actual, expected)
    else:
        teacher = last.detach()
        assert torch.autograd.gradcheck(
            lambda *x: made({'logits': [*x, teacher]}, {}, BATCH)['loss_stages'], tuple(earlier)
        )


def test_split_and_flat_logits_agree() -> None:
    flat = outputs(2, 5, 4 * BINS)
    split = [stage.detach().unflatten(-1, (4, BINS)).requires_grad_() for stage in flat]
    actual = value(distiller(bins=BINS), flat)
    torch.testing.assert_close(value(distiller(bins=BINS), split), actual)
    torch.testing.assert_close(value(distiller(), flat), actual)
    # Four queries with 4 * bins logits are no (4, bins).
    four = outputs(2, 4, 4 * BINS)
    torch.testing.assert_close(
        value(distiller(bins=BINS), four), value(distiller(), [x[:, [3, 1, 0, 2]] for x in four])
    )


def test_maps_are_locations() -> None:
    sizes, stages = [(4, 5), (2, 3)], 3
    maps = [outputs(2, 4 * BINS, *size, stages=stages, seed=i) for i, size in enumerate(sizes)]
    scores = [outputs(2, 3, *size, stages=1, seed=7 + i)[0] for i, size in enumerate(sizes)]
    ordered = [maps[level][stage] for stage in range(stages) for level in range(2)]
    actual = value(distiller(levels=2, scores='head.cls'), ordered, scores)
    rows = [[part[n, :, y, x] for part, (h, w) in zip(stage, sizes) for n in range(2) for y in range(h)
             for x in range(w)] for stage in zip(*maps)]  # fmt: skip
    classes = [part[n, :, y, x] for part, (h, w) in zip(scores, sizes) for n in range(2) for y in range(h)
               for x in range(w)]  # fmt: skip
    flat = value(distiller(scores='head.cls'), [torch.stack(stage) for stage in rows], [torch.stack(classes)])
    torch.testing.assert_close(actual, flat)
    # A class layer that runs in every stage: the last stage's count.
    every = [torch.zeros_like(x) for x in scores * (stages - 1)] + scores
    torch.testing.assert_close(value(distiller(levels=2, scores='head.cls'), ordered, every), actual)


@pytest.mark.parametrize('scored', [False, True])
def test_padding_does_not_count(scored: bool) -> None:
    """Maps of images with padding on their right, against those of the images alone."""
    maps, scores = outputs(2, 4 * BINS, 4, 4), outputs(2, 3, 4, 4, stages=1) if scored else None
    made = distiller(levels=1, scores='head.cls' if scored else None)
    samples = [SimpleNamespace(metainfo={'img_shape': (8, 4)}) for _ in range(2)]
    taps = {'logits': maps}, {'scores': scores} if scored else {}
    padded = made(*taps, Batch(torch.zeros(2, 3, 8, 8), samples))['loss_stages']
    alone = value(made, [x[..., :2] for x in maps], [x[..., :2] for x in scores] if scored else None)
    torch.testing.assert_close(padded, alone)
    (gradient,) = torch.autograd.grad(padded, maps[0])
    assert gradient[..., :2].abs().sum() > 0 and gradient[..., 2:].abs().sum() == 0


def test_a_copy_of_the_batch_changes_nothing() -> None:
    logits, scores = outputs(2, 5, 4 * BINS), outputs(2, 5, 3, stages=1)
    once = value(distiller(scores='head.cls'), logits, scores)
    again = value(distiller(scores='head.cls'), [torch.cat([x, x]) for x in logits], [torch.cat([scores[0]] * 2)])
    torch.testing.assert_close(again, once)


def test_order_of_locations_changes_nothing() -> None:
    logits, scores, order = outputs(7, 4 * BINS), outputs(7, 3, stages=1), torch.randperm(7)
    once = value(distiller(scores='head.cls'), logits, scores)
    again = value(distiller(scores='head.cls'), [x[order] for x in logits], [scores[0][order]])
    torch.testing.assert_close(again, once)


def test_equal_stages_lose_nothing() -> None:
    logits = [outputs(5, 4 * BINS)[0].detach().clone().requires_grad_() for _ in range(3)]
    actual = value(distiller(), logits)
    actual.backward()
    assert actual.abs() < 1e-6 and logits[0].grad is not None and logits[0].grad.abs().max() < 1e-6


@pytest.mark.parametrize('shape', [(0,), (2, 0), (0, 5)])
@pytest.mark.parametrize('activation', ['sigmoid', 'softmax'])
def test_no_locations(shape: tuple[int, ...], activation: str) -> None:
    logits, scores = outputs(*shape, 4 * BINS), outputs(*shape, 3, stages=1)
    actual = value(distiller(scores='head.cls', activation=activation), logits, scores)
    actual.backward()
    assert actual == 0 and all(stage.grad is not None for stage in logits[:-1])


def test_a_sure_background_counts_nothing() -> None:
    logits = outputs(2, 4 * BINS)
    scores = torch.tensor([[-1e4, -1e4, 1e4], [1e4, -1e4, -1e4]])
    value(distiller(scores='head.cls', activation='softmax'), logits, [scores]).backward()
    assert logits[0].grad is not None
    assert logits[0].grad[0].abs().sum() == 0 and logits[0].grad[1].abs().sum() > 0


def test_extremes_stay_finite() -> None:
    logits = [(x.detach().sign() * 1e4).requires_grad_() for x in outputs(5, 4 * BINS)]
    value(distiller(scores='head.cls'), logits, [torch.full((5, 3), -1e4)]).backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in logits[:-1])
    value(distiller(), logits).backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in logits[:-1])


# A head in the manner of GFL with a second stage, through the session of the hook.


@pytest.mark.parametrize('with_teacher_for_others', [False, True])
def test_a_two_stage_head_teaches_itself(with_teacher_for_others: bool) -> None:
    torch.manual_seed(0)
    model = TwoStages()
    config = dict(type='kd_plugins.StageLocalizationDistiller', logits='reg.*', scores='cls', levels=2, bins=BINS)
    other = dict(type='kd_plugins.FeatureDistiller', student_tap='body', source='teacher')
    hook = DistillHook(
        distillers=dict(stages=config, **(dict(other=other) if with_teacher_for_others else {})),
        teacher=dict(type='kd_plugins.EMATeacher') if with_teacher_for_others else None,
    )
    for teacher in hook.teachers.values():
        teacher.prepare(model, 0, 0)
    session = DistillSession(model, hook.distillers, hook.teachers, lambda: None)
    session.weights = dict.fromkeys(hook.distillers, 1.0)
    assert session.sources['stages'] is None
    losses = model(torch.randn(2, 3, 8, 8), None, 'loss')
    actual = losses['distill.stages.loss_stages']
    assert actual > 0
    actual.backward()
    assert model.reg[0].weight.grad is not None and model.reg[0].weight.grad.abs().sum() > 0
    assert model.reg[1].weight.grad is None and model.cls.weight.grad is None
    session.detach()


# The real head without a teacher network: FDR, whose decoder layers are the stages.


@pytest.fixture(scope='module')
def fdr() -> Any:
    pytest.importorskip('mmdet')
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    import kd_plugins.models.dfine  # noqa: F401

    init_default_scope('mmdet')
    config = Config.fromfile(ROOT / 'configs' / 'dfine' / 'dino_r18_bccd_fdr_stages.py')
    torch.manual_seed(0)
    model = MODELS.build(dict(config.model, num_queries=12)).train()
    model.init_weights()
    for branch in model.bbox_head.fdr.distributions:  # they start at 0, where all layers agree
        nn.init.normal_(branch[-1].weight, std=0.3)
    return model, config.default_hooks.distill.to_dict()


@pytest.mark.parametrize('boxes', [2, 0])
def test_fdr_head_equals_the_divergence_of_ddf(fdr: Any, boxes: int) -> None:
    model, config = fdr
    config = {key: part for key, part in config.items() if key != 'type'}
    made = DistillHook(**config).distillers['stages']
    session = DistillSession(model, {'stages': made}, {}, lambda: None)
    session.weights = {'stages': 1.0}
    watched = TapSet(model, {'decoder': 'decoder', 'scores': 'bbox_head.cls_branches.2'})
    watched.start()
    losses = model(*images(boxes), mode='loss')
    watched.stop()
    # The decoder gives hidden states and a Refinement: logits, boxes, initial boxes.
    logits, (scores,) = watched.read('decoder')[1], watched.read('bbox_head.cls_branches.2')
    assert logits.shape[0] == 3 and logits.shape[-2:] == (4, 33)
    assert (logits.shape[2] > 12) == (boxes > 0), 'denoising queries are stages of the same kind'
    weight = scores.sigmoid().amax(dim=-1).flatten()
    nobody = torch.zeros_like(weight, dtype=torch.bool)
    ddf = decoupled_distillation(logits[:-1].flatten(1, 2), logits[-1].flatten(0, 1), weight.expand(2, -1), nobody)
    actual = losses['distill.stages.loss_stages']
    assert actual > 1e-3
    torch.testing.assert_close(actual, ddf.mean() / weight.mean())
    assert not any('ddf' in name for name in losses)

    model.zero_grad()
    actual.backward()
    first, second, last = model.bbox_head.fdr.distributions
    assert all(branch[-1].weight.grad.abs().sum() > 0 for branch in (first, second))
    assert last[-1].weight.grad is None and model.bbox_head.cls_branches[2].weight.grad is None
    session.detach()
    watched.remove()


def test_running_sum_of_the_taps_is_what_the_decoder_refines_by(fdr: Any) -> None:
    model, _ = fdr
    path = 'bbox_head.fdr.distributions.*'
    taps = TapSet(model, {'increments': path, 'decoder': 'decoder'})
    taps.start()
    model(*images(1), mode='loss')
    taps.stop()
    made = distiller(logits=path, accumulate=True)
    torch.testing.assert_close(
        torch.stack(made._stages({'logits': taps.read(path)})), taps.read('decoder')[1], rtol=0, atol=0
    )
    taps.remove()


def test_fdr_increments_must_be_accumulated(fdr: Any) -> None:
    model, _ = fdr
    path = 'bbox_head.fdr.distributions.*'
    with pytest.raises(ConfigError, match='stages.accumulate is False, and .* set accumulate=True'):
        distiller(logits=path).check_models(model, model)
    distiller(logits=path, accumulate=True).check_models(model, model)
