"""Class heads on the stages of a backbone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kd_plugins.distillers import StageClassDistiller
from kd_plugins.distillers.stage_class import presence_loss
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, sentence
from tests.distillers.label_guided.pictures import labelled_batch
from tests.distillers.two_steps import two_steps

BOX = [0.0, 0.0, 8.0, 8.0]
BATCH = labelled_batch([[BOX, BOX], []], [[2, 0], []], sizes=[(64, 48), (64, 64)])


class Backbone(nn.Module):
    """Three stages."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Conv2d(3, 4, 4, 4)
        self.layer2, self.layer3 = nn.Conv2d(4, 6, 2, 2), nn.Conv2d(6, 8, 2, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        first = self.layer1(x)
        second = self.layer2(first.relu())
        return [first, second, self.layer3(second.relu())]


class Model(nn.Module):
    """Three classes."""

    def __init__(self, num_classes: Any = 3) -> None:
        super().__init__()
        self.backbone, self.bbox_head = Backbone(), nn.Module()
        self.bbox_head.num_classes = num_classes


def distiller(**options: Any) -> tuple[StageClassDistiller, Model, dict[str, list[Tensor]]]:
    torch.manual_seed(0)
    model = Model()
    one = StageClassDistiller(width=8, key='distillers.x', **options)
    one.check_models(model, model)
    outputs = {'stages': model.backbone(torch.randn(2, 3, 64, 64))}
    one.initialize({'stages': [x.detach() for x in outputs['stages']]}, {})
    return one, model, outputs


def test_terms_and_gradients() -> None:
    one, _, outputs = distiller()
    assert one.student_taps() == {'stages': 'backbone.layer*'} and one.teacher_taps() == {} and one.turns == 1
    assert [len(head.convolutions) for head in one.heads] == [3, 2, 1]
    leaves = {'stages': [x.detach() for x in outputs['stages']]}
    losses = check_step(one, leaves, {}, BATCH)
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(losses['loss_presence'], presence_loss(one.logits(*mask_of(one, leaves)), target))
    assert all(param.grad is not None for param in one.parameters())
    # A deeper stage gets no gradient from what it teaches.
    one.zero_grad()
    one(leaves, {}, BATCH)['loss_stage'].backward()
    assert one.heads[0].linear.weight.grad is not None and one.heads[2].linear.weight.grad is None


def mask_of(one: StageClassDistiller, outputs: Any) -> tuple[list[Tensor], Tensor | None]:
    return outputs['stages'], one._mask(BATCH)


def test_the_order_of_the_tap_does_not_matter() -> None:
    one, _, outputs = distiller()
    losses = one(outputs, {}, BATCH)
    other = StageClassDistiller(width=8)
    other.num_classes = 3
    turned = {'stages': outputs['stages'][::-1]}
    other.initialize(turned, {})
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(value, losses[name]) for name, value in other(turned, {}, BATCH).items())


def test_rotations() -> None:
    one, model, outputs = distiller(rotations=True)
    batch = labelled_batch([[BOX], []], [[2], []])
    batch.inputs.copy_(torch.randn(2, 3, 64, 64))
    outputs = {'stages': model.backbone(batch.inputs)}
    answers = one.query_student(model, outputs, {}, batch)
    assert list(answers) == ['turn.1', 'turn.2', 'turn.3'] and one.heads[0].linear.out_features == 12
    expected = model.backbone(batch.inputs.rot90(2, (2, 3)))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(answers['turn.2'], expected))
    assert not any(module._forward_hooks for module in model.modules())
    losses = one({**outputs, **answers}, {}, batch)
    sum(losses.values()).backward()
    assert all(param.grad is not None for param in [*one.parameters(), *model.backbone.parameters()])
    # By hand: class 2 of the first image, at the entry of its rotation.
    logits = torch.stack([torch.stack(one.logits(x)) for x in (outputs['stages'], *answers.values())])
    target = torch.zeros(4, 3, 2, 12)
    for turn in range(4):
        target[turn, :, 0, 8 + turn] = 1
    by_hand = nn.functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(losses['loss_presence'], by_hand)


def test_turned_padding() -> None:
    """Padding turns with the image."""
    one, model, _ = distiller(rotations=True)
    boxes = labelled_batch([[BOX]], [[1]], sizes=[(64, 32)])
    values = []
    for fill in (0.0, 5.0):
        boxes.inputs[:] = torch.linspace(0, 1, 32).repeat(2)
        boxes.inputs[..., 32:] = fill
        outputs = {'stages': model.backbone(boxes.inputs)}
        losses = one({**outputs, **one.query_student(model, outputs, {}, boxes)}, {}, boxes)
        values.append(torch.stack(list(losses.values())))
    torch.testing.assert_close(*values)


def test_a_stage_alone_and_no_objects() -> None:
    one, _, outputs = distiller(stage_weight=0.0)
    assert one.loss_names == ('loss_presence',)
    assert one(outputs, {}, labelled_batch([[], []], [[], []]))['loss_presence'] > 0


def test_two_steps_of_a_shipped_detector() -> None:
    entry = {'type': 'kd_plugins.StageClassDistiller', 'width': 8, 'rotations': True}
    steps = two_steps('gfl/gfl_r18w32_bccd.py', {'stages': entry})
    assert tuple(steps.terms) == ('distill.stages.loss_presence', 'distill.stages.loss_stage')
    assert steps.reached('backbone.layer1.0.conv1.weight') and not steps.reached('bbox_head.gfl_cls.weight')


def test_config_sentences() -> None:
    build = {'type': 'kd_plugins.StageClassDistiller', 'key': 'distillers.x'}
    for options, words in (
        (dict(width=0), 'x.width is 0; valid: a number of channels'),
        (dict(teacher='last'), "x.teacher is 'last'; .*'next'"),
        (dict(beta=0.5), 'x.beta is 0.5, between 0 and 1, where the gradient has no bound; use 0 or 2.0'),
        (dict(rotations=1), 'x.rotations is 1; valid: True, False'),
        (dict(presence_weight=0), 'x.presence_weight is 0; it must be a finite number > 0'),
    ):
        with sentence(words):
            MODELS.build({**build, **options})
    one = MODELS.build(build)
    with sentence('x: Model has no head with num_classes, so its images have no classes'):
        one.check_models(Model(None), Model(None))
    outside = MODELS.build({**build, 'rotations': True, 'stages': 'neck.fpn_convs.*'})
    with sentence("x.rotations is True, which runs the backbone alone, and distillers.x.stages is 'neck.fpn_convs"):
        outside.check_models(Model(), Model())
    one.check_models(Model(), Model())
    with sentence("x.stages: 'backbone.layer\\*' gives .*; name at least two stages"):
        one.initialize({'stages': [torch.zeros(1, 2, 4, 4)]}, {})
    assert str(one.needs_labels).startswith('StageClassDistiller teaches by labels')
