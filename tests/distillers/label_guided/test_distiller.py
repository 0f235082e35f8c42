"""Label-guided self-distillation: what each loss trains, when, and on which detectors."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import LabelGuidedDistiller
from kd_plugins.head_loss import losses_on_maps
from kd_plugins.hooks.session import DistillSession
from kd_plugins.registry import MODELS
from kd_plugins.utils.loss_dicts import loss_sum
from tests.distillers.common import sentence
from tests.distillers.label_guided.pictures import labelled_batch
from tests.distillers.roi_models import model_of
from tests.distillers.two_steps import small_detector, two_steps
from tests.integration.runs import model_config

BATCH = labelled_batch([[[0.0, 0.0, 32.0, 16.0], [8.0, 8.0, 24.0, 40.0]], []], [[1, 0], []], sizes=[(64, 48), (64, 64)])
SMALL: dict[str, Any] = {'type': 'kd_plugins.LabelGuidedDistiller', 'encoder_width': 0.125}
NAMES = ('distill.guide.loss_feat', 'distill.guide.loss_head')


class Head(nn.Module):
    """Three classes, and a loss that depends on each level."""

    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 3, 1)


class Detector(nn.Module):
    """A neck of two levels and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.neck = nn.Conv2d(3, 8, 1)
        self.bbox_head = Head()

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        levels = self.neck(inputs[:, :, ::8, ::8])
        return levels, levels[:, :, ::2, ::2]

    def loss(self, inputs: Tensor, samples: Any) -> dict[str, Any]:
        return {'loss_cls': [(self.bbox_head.conv(x) - 1).square().mean() for x in self.extract_feat(inputs)]}


def pyramid(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 8, size, size, generator=generator).requires_grad_() for size in (8, 4)]


def distiller(**options: Any) -> tuple[LabelGuidedDistiller, Detector]:
    torch.manual_seed(0)
    one, model = LabelGuidedDistiller(**{'encoder_width': 0.125, 'num_heads': 2, **options}), Detector()
    one.check_models(model, model)
    one.initialize({'maps': [x.detach() for x in pyramid()]}, {})
    return one, model


def losses_of(
    one: LabelGuidedDistiller, model: Detector, levels: list[Tensor], batch: Any = BATCH
) -> dict[str, Tensor]:
    outputs = {'maps': levels}
    answers = one.query_student(model, outputs, {}, batch)
    losses = one({**outputs, **answers}, {}, batch)
    assert tuple(losses) == one.loss_names
    assert all(value.shape == () and value.isfinite() and value.requires_grad for value in losses.values())
    return losses


def reached(module: nn.Module) -> bool:
    return any(param.grad is not None and bool(param.grad.abs().sum() > 0) for param in module.parameters())


def test_what_the_distance_trains() -> None:
    one, model = distiller()
    assert one.student_taps() == {'maps': 'neck'} and one.teacher_taps() == {} and one.source == 'student'
    levels = pyramid()
    losses_of(one, model, levels)['loss_feat'].backward()
    assert reached(one.adapter) and not reached(one.instructor) and not reached(model)
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in levels)


@pytest.mark.parametrize('detached', [False, True])
def test_what_the_detection_loss_trains(detached: bool) -> None:
    one, model = distiller(detach_appearance=detached)
    levels = pyramid()
    losses_of(one, model, levels)['loss_head'].backward()
    assert reached(one.instructor) and reached(model.bbox_head) and not reached(one.adapter)
    assert all((x.grad is None) == detached for x in levels)
    if not detached:
        # Where the context is the only object, there is nothing to choose, and the appearance has no effect.
        for x in levels:
            assert x.grad is not None and x.grad[0].abs().max() > 1e-6 > x.grad[1].abs().max()


def test_the_detection_loss_is_that_of_the_head_on_the_maps() -> None:
    one, model = distiller(head_weight=2.0)
    levels = pyramid()
    answers = one.query_student(model, {'maps': levels}, {}, BATCH)
    own = losses_on_maps(model, answers['instructive'], BATCH.inputs, BATCH.data_samples)
    losses = losses_of(one, model, levels)
    torch.testing.assert_close(losses['loss_head'], 2.0 * loss_sum(own))
    half = losses_of(distiller(feat_weight=0.5)[0], model, levels)['loss_feat']
    torch.testing.assert_close(half, 0.5 * losses['loss_feat'])


@pytest.mark.parametrize(
    ('begin', 'end', 'iteration', 'teaches'),
    [(0.25, 1.0, 9, False), (0.25, 1.0, 10, True), (0.0, 0.5, 19, True), (0.0, 0.5, 20, False), (0.0, 1.0, 39, True)],
)
def test_the_student_is_taught_in_a_part_of_the_run(begin: float, end: float, iteration: int, teaches: bool) -> None:
    one, model = distiller(begin=begin, end=end)
    batch = labelled_batch([[[0.0, 0.0, 32.0, 16.0]], []], [[1], []], iteration=iteration, iterations=40)
    assert one.teaches(batch) == teaches and one.teaches(BATCH), 'also where the length of the run is unknown'
    levels = pyramid()
    loss = losses_of(one, model, levels, batch)['loss_feat']
    torch.testing.assert_close(loss, losses_of(distiller()[0], model, levels, batch)['loss_feat'])
    loss.backward()
    assert reached(one.adapter), 'the adapter learns all the time'
    assert all(x.grad is not None and bool(x.grad.abs().sum() > 0) == teaches for x in levels)


@pytest.mark.parametrize('context', [True, False])
def test_images_without_objects(context: bool) -> None:
    one, model = distiller(context=context)
    levels = pyramid()
    losses = losses_of(one, model, levels, labelled_batch([[], []], [[], []]))
    assert (losses['loss_feat'] > 0) == context
    torch.stack(list(losses.values())).sum().backward()
    # DistributedDataParallel waits for a gradient of every parameter.
    assert all(param.grad is not None and param.grad.isfinite().all() for param in one.parameters())
    if not context:
        # They count for nothing beside an image with objects.
        batch = labelled_batch([[[0.0, 0.0, 32.0, 16.0]], []], [[1], []])
        alone = labelled_batch([[[0.0, 0.0, 32.0, 16.0]]], [[1]])
        both = losses_of(one, model, levels, batch)['loss_feat']
        torch.testing.assert_close(losses_of(one, model, [x[:1] for x in levels], alone)['loss_feat'], both)


def test_padding_and_order_of_objects_change_nothing() -> None:
    one, model = distiller()
    levels = pyramid()
    value = losses_of(one, model, levels)['loss_feat']
    for level in levels:
        # The first image has 48 of 64 columns.
        level.data[0, :, :, 3 * level.shape[3] // 4 :] = 9.0
    torch.testing.assert_close(losses_of(one, model, levels)['loss_feat'], value)
    boxes = [[[8.0, 8.0, 24.0, 40.0], [0.0, 0.0, 32.0, 16.0]], []]
    other = labelled_batch(boxes, [[0, 1], []], sizes=[(64, 48), (64, 64)])
    torch.testing.assert_close(losses_of(one, model, levels, other)['loss_feat'], value)
    released, _ = distiller(reference=True)
    released.load_state_dict(one.state_dict())
    assert not torch.allclose(losses_of(released, model, levels)['loss_feat'], value)


def test_without_the_distance() -> None:
    one, model = distiller(feat_weight=0.0)
    assert one.loss_names == ('loss_head',) and one.adapter is None
    losses_of(one, model, pyramid())


def test_autocast() -> None:
    one, model = distiller()
    levels = pyramid()
    expected = losses_of(one, model, levels)
    with torch.autocast('cpu', torch.bfloat16):
        answers = one.query_student(model, {'maps': levels}, {}, BATCH)
    # The head runs as in the student's own pass, the instructor in float32.
    assert all(x.dtype == torch.float32 for x in answers['instructive'])
    losses = one({'maps': levels, **answers}, {}, BATCH)
    torch.testing.assert_close(losses['loss_feat'], expected['loss_feat'])
    torch.testing.assert_close(losses['loss_head'], expected['loss_head'], rtol=0.05, atol=0.05)


def steps_of(model: Any, **options: Any) -> Any:
    return two_steps(model, {'guide': {**SMALL, **options}})


@pytest.mark.parametrize('name', ['gfl/gfl_r18w32_bccd.py', 'dfine/dab-detr_r18_bccd.py'])
def test_two_steps_of_a_shipped_detector(name: str) -> None:
    steps = steps_of(name)
    assert tuple(steps.terms) == NAMES and all(value > 0 for value in steps.terms.values())
    assert steps.reached('backbone.conv1.weight')
    assert any(steps.reached(name) for name, _ in steps.student.bbox_head.named_parameters(prefix='bbox_head'))


@pytest.mark.parametrize('name', ['faster', 'mask'])
def test_two_steps_of_a_two_stage_detector(name: str) -> None:
    steps = steps_of(model_of(name), detach_appearance=True, context=False, masks=name == 'mask')
    assert tuple(steps.terms) == NAMES and all(value > 0 for value in steps.terms.values())
    assert steps.reached('rpn_head.rpn_cls.weight') and steps.reached('backbone.conv1.weight')


def test_the_rest_of_the_step_stays_as_it_is() -> None:
    """Running statistics of the head and the generator of the run are those of a step without distillation."""
    config = model_config()
    config['bbox_head']['norm_cfg'] = {'type': 'BN'}
    student, batch = small_detector(config)

    def step(weight: float) -> tuple[dict[str, Tensor], Tensor, dict[str, Any]]:
        model = copy.deepcopy(student)
        one = MODELS.build({**SMALL, 'key': 'distillers.guide'})
        session = DistillSession(model, {'guide': one}, {}, lambda: None)
        session.weights = {'guide': weight}
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        torch.manual_seed(4)
        losses = model.train()(**data, mode='loss')
        session.detach()
        buffers = {name: value.clone() for name, value in model.named_buffers()}
        assert set(model.state_dict()) == set(student.state_dict()) and 'extract_feat' not in vars(model)
        return buffers, torch.rand(3), losses

    (with_term, numbers, losses), (without, others, plain) = step(1.0), step(0.0)
    assert torch.equal(numbers, others) and losses[NAMES[1]] > 0 and plain[NAMES[1]] == 0
    assert all(torch.equal(value, without[name]) for name, value in with_term.items())
    for key in ('loss_cls', 'loss_bbox'):
        assert all(torch.equal(one, other) for one, other in zip(losses[key], plain[key]))
    # The statistics of the batch still have a gradient.
    torch.stack([losses[name] for name in NAMES]).sum().backward()


def test_config_sentences() -> None:
    build = {**SMALL, 'key': 'distillers.guide'}
    for options, words in (
        (dict(begin=0.5, end=0.5), 'guide.begin is 0.5 and distillers.guide.end is 0.5; both are shares of the run'),
        (dict(begin=3000), 'guide.begin is 3000.0 and distillers.guide.end is 1.0; both are shares'),
        (dict(end=2), 'guide.end is 2.0; both are shares of the run'),
        (dict(head_weight=0), 'guide.head_weight is 0; it must be a finite number > 0'),
        (dict(feat_weight=0, begin=0.2), 'guide.begin is a setting of loss_feat, which .*feat_weight=0 leaves out'),
        (dict(feat_weight=0, level_balance='levels'), 'guide.level_balance is a setting of loss_feat'),
        (dict(guide='label'), "guide.guide is 'label'; .*'labels'"),
        (dict(level_balance='level'), "guide.level_balance is 'level'; .*'levels'"),
        (dict(encoder_width=9), 'guide.encoder_width is 9.0; it is a factor of at most 8'),
        (dict(num_heads=0), 'guide.num_heads is 0; valid: a number of heads'),
        (dict(context='yes'), "guide.context is 'yes'; valid: True, False"),
    ):
        with sentence(words):
            MODELS.build({**build, **options})
    one, model = MODELS.build(build), Detector()
    for network in (nn.Linear(1, 1), nn.Sequential()):
        with sentence(f'guide: {type(network).__name__} is no detector with a bbox_head or roi_head of classes, no '):
            one.check_models(network, network)
    one.check_models(model, model)
    with sentence("guide.channels is None, and 'neck' of the student gives .*, with another number of channels"):
        one.initialize({'maps': [torch.zeros(2, 8, 4, 4), torch.zeros(2, 16, 2, 2)]}, {})
    with sentence('guide.num_heads is 8, which does not divide the 12 channels of the maps; valid: 1, 2, 3, 4, 6, 12'):
        one.initialize({'maps': [torch.zeros(2, 12, 4, 4)]}, {})
    one.initialize({'maps': [torch.zeros(2, 8, 8, 8)]}, {})
    model.loss = lambda inputs, samples: {'loss': inputs.mean()}  # type: ignore[method-assign]
    with sentence('guide: loss of Detector does not call extract_feat, .*; nearest: FeatureDistiller'):
        one.query_student(model, {'maps': pyramid()[:1]}, {}, BATCH)
    assert str(one.needs_labels).startswith('LabelGuidedDistiller teaches by labels')
