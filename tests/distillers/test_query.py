"""Predictions at the same queries: every kind of DETR, its teachers, values by hand and settings."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.distillers import QueryDistiller
from kd_plugins.hooks.session import DistillSession
from kd_plugins.losses import giou_distance
from kd_plugins.ops.boxes import to_corners
from kd_plugins.teachers import EMATeacher, FrozenTeacher
from tests.distillers.common import make_batch, sentence
from tests.distillers.detrs import KINDS, PLACED, batch_of, detr, model_config
from tests.distillers.two_steps import two_steps
from tests.models.dfine.native.detectors import batch as native_batch
from tests.models.dfine.native.detectors import small
from tests.ranks import on_two_ranks
from tools.analysis.dfine_twins import model_config as ours_config
from tools.analysis.dfine_twins import ours

NAMES = [f'distill.queries.{name}' for name in QueryDistiller.loss_names]


def session_of(student: nn.Module, noise: float = 0.0, **options: Any) -> DistillSession:
    """Return a session with the average of the student as its teacher, whose weights differ by noise."""
    teacher = EMATeacher()
    teacher.prepare(student)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in teacher.model.parameters():
            param.add_(noise * torch.randn(param.shape, generator=generator))
    distiller = QueryDistiller(key='distillers.queries', **{'general': 5, **options})
    session = DistillSession(student, {'queries': distiller}, {'teacher': teacher}, lambda: None)
    session.weights = {'queries': 1.0}
    student.train()
    # Batch statistics would differ from those of the teacher.
    student.backbone.eval()
    return session


def points_of(kind: str) -> dict[str, Any]:
    return {} if kind in PLACED else {'points': ('specific',), 'general': 300}


@pytest.mark.parametrize('kind', KINDS)
def test_a_copy_teaches_nothing_and_another_network_every_layer(kind: str) -> None:
    student = detr(kind)
    options = points_of(kind)
    equal = session_of(student, **options, layers='last')
    losses = student(**batch_of(student), mode='loss')
    assert all(losses[name].abs() < 1e-5 for name in NAMES)
    equal.detach()
    session = session_of(student, noise=0.05, **options)
    for same_sizes in (False, True):  # padding needs a mask, equal sizes have none
        student.zero_grad()
        losses = student(**batch_of(student, equal=same_sizes), mode='loss')
        assert all(losses[name] > 0 for name in NAMES)
        torch.stack([losses[name] for name in NAMES]).sum().backward()
        reached = [name for name, param in student.named_parameters() if param.grad is not None and param.grad.any()]
        assert any(name.startswith('backbone.layer3') for name in reached)
        for layer in range(3):
            assert any(name.startswith(f'decoder.layers.{layer}.') for name in reached)
        # The student's own queries take no part.
        assert not any(name.startswith('query_embedding') for name in reached)
    teacher: Any = session.teachers['teacher'].model
    assert all(param.grad is None for param in teacher.parameters())
    session.detach()
    for model in (student, teacher):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert 'extract_feat' not in vars(model)
    assert not session.distillers.state_dict()
    assert not list(session.distillers.parameters())


def outputs(
    layers: int = 2, classes: int = 3, seed: int = 0
) -> tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]]:
    """Answers of student and teacher at 6 queries of each kind, of 2 images."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    student, teacher = {}, {}
    for kind in ('specific', 'general'):
        student[f'{kind}.scores'] = [draw(layers, 2, 6, classes)]
        student[f'{kind}.boxes'] = [draw(layers, 2, 6, 4).sigmoid()]
        teacher[f'{kind}.scores'] = [draw(2, 6, classes)]
        teacher[f'{kind}.boxes'] = [draw(2, 6, 4).sigmoid()]
    return student, teacher


BATCH = make_batch([None, None])


@pytest.mark.parametrize('softmax', [False, True])
def test_value_by_hand(softmax: bool) -> None:
    distiller = QueryDistiller(cls_weight=3.0, box_weight=1.0, iou_weight=1.0)
    distiller.softmax = softmax
    student, teacher = outputs()
    losses = distiller(student, teacher, BATCH)
    expected = dict.fromkeys(losses, torch.zeros(()))
    for kind in ('specific', 'general'):
        target, boxes = (teacher[f'{kind}.{name}'][0] for name in ('scores', 'boxes'))
        probs = target.softmax(-1) if softmax else target.sigmoid()
        weight = (probs[..., :-1] if softmax else probs).amax(-1)
        for layer in range(2):
            mine, mine_boxes = (student[f'{kind}.{name}'][0][layer] for name in ('scores', 'boxes'))
            if softmax:
                cls = (probs * (probs.log() - mine.log_softmax(-1))).sum(-1)
            else:
                entropy = F.binary_cross_entropy_with_logits(mine, probs, reduction='none')
                cls = ((probs - mine.sigmoid()) ** 2 * entropy).sum(-1)
            terms = [3 * cls, (mine_boxes - boxes).abs().mean(-1), giou_distance(*map(to_corners, (mine_boxes, boxes)))]
            for name, term in zip(expected, terms):
                expected[name] = expected[name] + (term * weight).sum() / weight.sum()
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize('softmax', [False, True])
def test_layers_add_up_where_the_teacher_sees_little(softmax: bool) -> None:
    """Weights with a sum below 1, where the divisor is 1: equal layers have as many times the loss of one."""
    student, teacher = outputs(layers=1)
    for kind in ('specific', 'general'):
        teacher[f'{kind}.scores'][0] -= 6.0
        if softmax:
            teacher[f'{kind}.scores'][0][..., -1] += 9.0
    one, many = QueryDistiller(), QueryDistiller()
    one.softmax = many.softmax = softmax
    repeated = {name: [x.repeat(4, *[1] * (x.ndim - 1)) for x in tensors] for name, tensors in student.items()}
    expected, losses = one(student, teacher, BATCH), many(repeated, teacher, BATCH)
    for name, value in losses.items():
        torch.testing.assert_close(value, 4 * expected[name])


def test_the_order_of_the_queries_does_not_count() -> None:
    student, teacher = outputs()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    moved = [
        {name: [x[..., order, :] for x in tensors] for name, tensors in side.items()} for side in (student, teacher)
    ]
    for reference in (False, True):
        distiller = QueryDistiller(reference=reference)
        first, second = distiller(student, teacher, BATCH), distiller(*moved, BATCH)
        for name in first:
            torch.testing.assert_close(first[name], second[name])


def _reordered(distiller: Any, order: Any, model: Any, features: Any, own: Any, theirs: Any, batch: Any) -> Any:
    moved = {name: [theirs[name][0][:, order]] for name in distiller.form.points}
    return QueryDistiller.query(distiller, model, features, own, {**theirs, **moved}, batch)


@pytest.mark.parametrize('kind', ['dab', 'dino'])
def test_the_order_of_the_teacher_s_queries_does_not_count_in_a_network(kind: str) -> None:
    student = detr(kind)
    values = []
    for order in (slice(None), torch.arange(11, -1, -1)):
        session = session_of(student, noise=0.05, points=('specific',), general=300)
        member: Any = session.distillers.members['queries']
        member.query = partial(_reordered, member, order)
        losses = student(**batch_of(student), mode='loss')
        values.append(torch.stack([losses[name].detach() for name in NAMES]))
        session.detach()
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-6)


def test_the_last_layer_alone() -> None:
    student, teacher = outputs()
    last = {name: [x[-1:] for x in tensors] for name, tensors in student.items()}
    distiller = QueryDistiller(layers='last')
    assert all(value > 0 for value in distiller(last, teacher, BATCH).values())
    model = detr('dab')
    values = {}
    for layers in ('all', 'last'):
        session = session_of(model, noise=0.05, layers=layers)
        losses = model(**batch_of(model), mode='loss')
        values[layers] = [float(losses[name].detach()) for name in NAMES]
        session.detach()
    assert all(one < every for one, every in zip(values['last'], values['all']))


def test_general_queries_belong_to_the_step() -> None:
    student = detr('dab')
    session = session_of(student, noise=0.05, points=('general',))
    data = batch_of(student)

    def step(iteration: int) -> list[float]:
        session.iteration = iteration
        losses = student(**data, mode='loss')
        return [float(losses[name].detach()) for name in NAMES]

    first = step(0)
    assert step(1) != first and step(0) == first


def test_dropout_leaves_the_random_numbers_of_the_run() -> None:
    student = detr('dab')
    for module in student.decoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    session = session_of(student, noise=0.05)
    data = batch_of(student)
    student(**data, mode='loss')  # the first pass checks and makes adapters

    def state_after(weight: float) -> tuple[Tensor, float, Any]:
        session.weights = {'queries': weight}
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            seed(1)
        losses = student(**data, mode='loss')
        task = sum(
            float(value.detach()) for name, value in losses.items() if 'loss_cls' in name and 'distill' not in name
        )
        return torch.get_rng_state(), task, float(losses[NAMES[0]].detach())

    with_term, without = state_after(1.0), state_after(0.0)
    assert torch.equal(with_term[0], without[0]) and with_term[1] == without[1]
    assert with_term[2] > 0 and state_after(1.0)[2] == with_term[2]


def test_autocast() -> None:
    student = detr('dab')
    session = session_of(student, noise=0.05)
    with torch.autocast('cpu', torch.bfloat16):
        losses = student(**batch_of(student), mode='loss')
    assert all(losses[name].dtype == torch.float32 and losses[name].isfinite() for name in NAMES)
    torch.stack([losses[name] for name in NAMES]).sum().backward()
    session.detach()


def test_batch_without_objects_and_gradient_check() -> None:
    student = detr('dino')
    session = session_of(student, noise=0.05)
    losses = student(**batch_of(student, (0, 0)), mode='loss')
    assert all(losses[name] > 0 for name in NAMES), 'the queries need no labels'
    session.detach()
    values, teacher = (
        {name: [x.double() for x in tensors] for name, tensors in side.items()} for side in outputs(1, classes=2)
    )
    distiller = QueryDistiller()
    leaf = values['specific.scores'][0].requires_grad_()

    def total(x: Tensor) -> Tensor:
        return distiller({**values, 'specific.scores': [x]}, teacher, BATCH)['loss_cls']

    assert torch.autograd.gradcheck(total, (leaf,))


def _share(part: slice) -> list[Tensor]:
    student, teacher = outputs()
    distiller = QueryDistiller()
    leaves = [tensor[:, part].clone().requires_grad_() for tensors in student.values() for tensor in tensors]
    mine = {name: [leaf] for name, leaf in zip(student, leaves)}
    losses = distiller(mine, {name: [x[part] for x in tensors] for name, tensors in teacher.items()}, BATCH)
    torch.stack(list(losses.values())).sum().backward()
    return [torch.stack([value.detach() for value in losses.values()]), *(leaf.grad for leaf in leaves)]


def _half() -> list[Tensor]:
    return _share(slice(dist.get_rank(), dist.get_rank() + 1))


@pytest.mark.distributed
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    whole = _share(slice(None))
    first, second = on_two_ranks(tmp_path, _half)
    torch.testing.assert_close((first[0] + second[0]) / 2, whole[0])
    for one, two, expected in zip(first[1:], second[1:], whole[1:]):
        torch.testing.assert_close(torch.cat([one, two], dim=1) / 2, expected)


def test_a_frozen_teacher_with_other_sizes() -> None:
    """Only the width of the queries and the classes must be equal."""
    config, student = model_config('dino'), detr('dino')
    config['num_queries'] = 20
    config['encoder']['num_layers'] = config['decoder']['num_layers'] = 2
    config['backbone']['base_channels'] = 16
    config['neck']['in_channels'] = [2 * channels for channels in config['neck']['in_channels']]
    teacher = FrozenTeacher({'model': config, 'default_scope': 'mmdet'}, None, seed=5)
    teacher.prepare(student)
    distiller = QueryDistiller(general=30)
    session = DistillSession(student, {'queries': distiller}, {'teacher': teacher}, lambda: None)
    session.weights = {'queries': 1.0}
    decoded: list[int] = []
    teacher.model.decoder.register_forward_hook(lambda module, args, output: decoded.append(1))
    for step in range(3):
        losses = student.train()(**batch_of(student), mode='loss')
        assert losses[NAMES[0]] > 0 and all(losses[name].isfinite() for name in NAMES)
        # The first pass of a teacher runs to its end; later ones end before its decoder, which then answers twice.
        assert len(decoded) == 2 * (step + 1) + 1
    session.detach()


def native_session(student: nn.Module, **options: Any) -> tuple[DistillSession, nn.Module]:
    """Return a session with D-FINE-S, whose bins are those of X, as the teacher, and the teacher."""
    changes = {'bbox_head.num_classes': 3, 'bbox_head.reg_scale': 8.0, 'num_queries': 30}
    model = ours_config('dfine_s', **changes)
    teacher = FrozenTeacher({'model': model, 'default_scope': 'mmdet'}, None, seed=5)
    teacher.prepare(student)
    # Branches of the boxes start at 0: give each edge a distribution of its own.
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for model in (student, teacher.model):
            for branch in model.bbox_head.fdr.distributions:
                branch[-1].weight.copy_(0.1 * torch.randn(branch[-1].weight.shape, generator=generator))
    distiller = QueryDistiller(key='distillers.queries', **{'general': 5, 'edge_weight': 1.0, **options})
    session = DistillSession(student, {'queries': distiller}, {'teacher': teacher}, lambda: None)
    session.weights = {'queries': 1.0}
    return session, teacher.model


@pytest.mark.parametrize('size', ['n', 's'])
def test_a_native_detector_learns_from_a_larger_one(size: str) -> None:
    """The width of N is another one, and the edges are relative to other boxes and bins than the teacher's."""
    student = small(build=partial(ours, size))
    session, teacher = native_session(student)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    names = [*NAMES, 'distill.queries.loss_edges']
    for shapes in (None, [(64, 96), (64, 80)]):  # images of one size have no mask
        student.zero_grad()
        losses = student(**native_batch(student, [2, 0], shapes), mode='loss')
        assert all(losses[name] > 0 and losses[name].isfinite() for name in names)
        losses['distill.queries.loss_edges'].backward(retain_graph=True)
        assert student.bbox_head.fdr.distributions[0][-1].weight.grad.any()
        assert student.backbone.stages[2].blocks[0].layers[0].conv1.conv.weight.grad.any()
        torch.stack([losses[name] for name in names]).sum().backward()
        assert student.bbox_head.cls_branches[2].weight.grad.any()
    with torch.autocast('cpu', torch.bfloat16):
        losses = student(**native_batch(student, [2, 0]), mode='loss')
    assert all(losses[name].dtype == torch.float32 and losses[name].isfinite() for name in names)
    assert all(param.grad is None for param in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items() if 'head' in name)
    session.detach()


def test_edges_of_a_copy_teach_nothing_and_plain_boxes_have_none() -> None:
    for kind in ('fdr_dino', 'fdr_dab'):
        student = detr(kind)
        session = session_of(student, layers='last', edge_weight=2.0)
        losses = student(**batch_of(student), mode='loss')
        assert losses['distill.queries.loss_edges'].abs() < 1e-5
        session.detach()
    with sentence(r'edge_weight is 1.0, and the teacher is DABDETR, which predicts no distribution .* edge_weight=0.0'):
        QueryDistiller(edge_weight=1.0).check_models(student, detr('dab'))


@pytest.mark.parametrize('teacher', ['frozen', 'ema'])
def test_two_steps_of_a_shipped_detector(teacher: str) -> None:
    entry = {'type': 'kd_plugins.QueryDistiller', 'general': 20}
    steps = two_steps('dfine/dab-detr_r18_bccd.py', {'queries': entry}, teacher)
    assert sorted(steps.terms) == sorted(NAMES)
    assert steps.terms[NAMES[0]] > 0
    assert steps.reached('decoder.layers.0.cross_attn.kcontent_proj.weight') and steps.reached(
        'bbox_head.fc_cls.weight'
    )


def test_wrong_settings() -> None:
    for points in ('specific', (), ('specific', 'specific')):
        with sentence(r"distillers.<name>.points is .*; valid: \('specific', 'general'\) or one"):
            QueryDistiller(points=points)
    with sentence("points is 'generl'; .*'general'"):
        QueryDistiller(points=('generl',))
    with sentence("general is 20 and .*, so no random query is drawn; add 'general' to points"):
        QueryDistiller(points=('specific',), general=20)
    with sentence('general'):
        QueryDistiller(general=0)
    with sentence('cls_weight, box_weight and iou_weight are 0'):
        QueryDistiller(cls_weight=0.0, box_weight=0.0, iou_weight=0.0)
    with sentence("layers is 'first'"):
        QueryDistiller(layers='first')
    with sentence("points holds 'general', and the queries of DETR are learned vectors .*points="):
        QueryDistiller().check_models(detr('detr'), detr('detr'))
