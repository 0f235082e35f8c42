from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.adapters import PointwiseAdapter
from kd_plugins.distillers import Batch, FocalGlobalDistiller
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, make_batch, sentence
from tests.distillers.focal_global.direct import GOLDEN_BOXES, GOLDEN_TERMS, DirectLoss, golden_maps

BOXES = [[[4.0, 4.0, 30.0, 20.0]], [[0.0, 0.0, 55.0, 55.0], [8.0, 8.0, 16.0, 16.0]]]
SHAPES = [(2, 4, 8, 8), (2, 4, 4, 4)]
ALL = ('loss_fg', 'loss_bg', 'loss_att', 'loss_rel')
GOLDEN = Batch(
    torch.zeros(2, 3, 6, 8),
    [
        SimpleNamespace(metainfo={'img_shape': (6, 8)}, gt_instances=SimpleNamespace(bboxes=torch.tensor(boxes)))
        for boxes in GOLDEN_BOXES
    ],
)


def taps(shapes: list[tuple[int, ...]] = SHAPES, teacher: list[tuple[int, ...]] | None = None) -> tuple[dict, dict]:
    return (
        {'student_tap': [torch.randn(shape) for shape in shapes]},
        {'teacher_tap': [torch.randn(shape) for shape in teacher or shapes]},
    )


def made(student: dict, teacher: dict, **settings: Any) -> FocalGlobalDistiller:
    distiller = FocalGlobalDistiller(key='distillers.fgd', **settings)
    distiller.initialize(student, teacher)
    return distiller


@pytest.mark.parametrize('reference', [False, True])
def test_golden_values_of_the_release(reference: bool) -> None:
    student, teacher = ({'student_tap': [a], 'teacher_tap': [a]} for a in golden_maps())
    distiller = made(student, teacher, alpha=1.0, beta=1.0, gamma=1.0, lamda=1.0, reference=reference)
    losses = check_step(distiller, student, teacher, GOLDEN)
    assert tuple(losses) == ALL
    assert [loss.item() for loss in losses.values()] == pytest.approx(GOLDEN_TERMS, rel=1e-6)


def test_trained_contexts_are_those_of_the_definition() -> None:
    student, teacher = taps([(2, 4, 8, 8)])
    distiller = made(student, teacher, freeze_teacher_block=False, reference=True)
    direct = DirectLoss(4, 4, 'level', gamma_fgd=5e-4)
    for side, block in (('s', distiller.student_blocks[0]), ('t', distiller.teacher_blocks[0])):
        layers = getattr(direct, f'channel_add_conv_{side}')
        nn.init.normal_(block.expand.weight)
        parts = [getattr(direct, f'conv_mask_{side}').weight]
        parts += [getattr(layers[index], name) for index in (0, 1, 3) for name in ('weight', 'bias')]
        with torch.no_grad():
            for mine, other in zip(block.parameters(), parts):
                other.copy_(mine.view_as(other))
    batch = make_batch(BOXES)
    losses = check_step(distiller, student, teacher, batch)
    leaf = student['student_tap'][0].detach().requires_grad_()
    boxes = [torch.tensor(some) for some in BOXES]
    expected = direct(leaf, teacher['teacher_tap'][0], boxes, [{'img_shape': (64, 64)}] * 2)
    expected.backward()
    torch.testing.assert_close(torch.stack(list(losses.values())).sum(), expected.detach())
    torch.testing.assert_close(student['student_tap'][0].grad, leaf.grad)
    assert all(parameter.grad is not None for parameter in distiller.parameters())


def test_the_teachers_context_stays_at_its_start() -> None:
    student, teacher = taps()
    distiller = made(student, teacher)
    assert not distiller.teacher_blocks and len(distiller.student_blocks) == 2
    check_step(distiller, student, teacher, make_batch(BOXES))
    assert distiller.student_blocks[0].expand.weight.grad.any()


def test_levels_are_added_and_channels_adapted() -> None:
    student, teacher = taps(SHAPES, [(2, 6, 8, 8), (2, 4, 4, 4)])
    distiller = made(student, teacher)
    assert [type(adapter) for adapter in distiller.adapters] == [PointwiseAdapter, nn.Identity]
    losses = check_step(distiller, student, teacher, make_batch(BOXES))
    total = dict.fromkeys(ALL, torch.zeros(()))
    for level in range(2):
        one = FocalGlobalDistiller()
        parts = (
            {'student_tap': [student['student_tap'][level].detach()]},
            {'teacher_tap': [teacher['teacher_tap'][level]]},
        )
        one.initialize(*parts)
        one.adapters[0].load_state_dict(distiller.adapters[level].state_dict())
        for name, value in one(*parts, make_batch(BOXES)).items():
            total[name] = total[name] + value.detach()
    torch.testing.assert_close(losses, total)


def test_equal_networks_lose_nothing() -> None:
    student, _ = taps()
    teacher = {'teacher_tap': [level.clone() for level in student['student_tap']]}
    losses = check_step(made(student, teacher), student, teacher, make_batch(BOXES))
    assert all(value == 0 for value in losses.values())


def test_padding_counts_for_nothing_unless_as_released() -> None:
    batch, narrow = make_batch(BOXES, img_shape=(64, 40)), [[[4.0, 4.0, 30.0, 20.0]], [[0.0, 0.0, 30.0, 60.0]]]
    batch = make_batch(narrow, img_shape=(64, 40))
    student, teacher = taps([(2, 4, 8, 8)])
    ours, released = made(student, teacher), made(student, teacher, reference=True)
    first, second = ours(student, teacher, batch), released(student, teacher, batch)
    for tensors in (student, teacher):
        for level in next(iter(tensors.values())):
            level.data[..., 5:] += 3 * torch.randn(2, 4, 8, 3)
    torch.testing.assert_close(ours(student, teacher, batch), first)
    assert all(not torch.isclose(a, b) for a, b in zip(released(student, teacher, batch).values(), second.values()))


def test_the_order_of_boxes_has_no_effect() -> None:
    student, teacher = taps()
    distiller = made(student, teacher)
    first = distiller(student, teacher, make_batch(BOXES))
    assert all(
        torch.equal(a, first[n]) for n, a in distiller(student, teacher, make_batch([b[::-1] for b in BOXES])).items()
    )


@pytest.mark.parametrize('boxes', [[[], []], [BOXES[0], []], [BOXES[0], None]], ids=str)
def test_images_without_objects(boxes: list) -> None:
    student, teacher = taps()
    losses = check_step(made(student, teacher), student, teacher, make_batch(boxes))
    assert losses['loss_bg'] > 0 and (losses['loss_fg'] > 0) == bool(boxes[0])


@pytest.mark.parametrize('shape', [(1, 4, 1, 1), (0, 4, 3, 3), (2, 4, 0, 3)], ids=str)
def test_small_batches(shape: tuple[int, ...]) -> None:
    student, teacher = taps([shape])
    check_step(made(student, teacher), student, teacher, make_batch([[[0.0, 0.0, 60.0, 60.0]]] * shape[0]))


def test_masks() -> None:
    student, teacher = taps()
    batch = make_batch([None, None])
    masks = torch.zeros(2, 1, 64, 64)
    masks[:, :, 8:24, 8:24] = 1
    for sample, some in zip(batch.data_samples or (), masks):
        sample.gt_instances = SimpleNamespace(masks=some)
    losses = check_step(made(student, teacher, foreground='masks'), student, teacher, batch)
    boxes = make_batch([[[8.0, 8.0, 15.0, 15.0]]] * 2)  # its cells, rounded outwards, are those of the mask
    torch.testing.assert_close(losses, check_step(made(student, teacher), student, teacher, boxes), rtol=1e-5, atol=0)


@pytest.mark.parametrize('name', ['alpha', 'beta', 'gamma', 'lamda'])
def test_a_factor_of_zero_leaves_its_loss_out(name: str) -> None:
    student, teacher = taps()
    distiller = made(student, teacher, **{name: 0})
    names = tuple(loss for loss, factor in zip(ALL, ('alpha', 'beta', 'gamma', 'lamda')) if factor != name)
    assert tuple(check_step(distiller, student, teacher, make_batch(BOXES))) == names
    assert bool(list(distiller.parameters())) == (name != 'lamda')


def test_images_without_labels() -> None:
    student, teacher = taps()
    attention = made(student, teacher, alpha=0, beta=0)
    assert tuple(check_step(attention, student, teacher, make_batch([None, None]))) == ALL[2:]
    distiller = made(student, teacher, alpha=0)
    distiller.on = 'unlabelled'
    distiller.check_models(nn.Sequential(nn.Identity()), nn.Identity())
    assert check_step(distiller, student, teacher, make_batch([None, None]))['loss_bg'] > 0
    labelled = made(student, teacher)
    assert distiller.needs_labels is None and str(labelled.needs_labels).endswith('use alpha=0')


def test_gradient_at_a_padded_location_is_zero() -> None:
    student, teacher = taps([(2, 4, 8, 8)])
    check_step(made(student, teacher), student, teacher, make_batch([[], []], img_shape=(40, 64)))
    grad = student['student_tap'][0].grad
    assert grad[:, :, :5].any() and not grad[:, :, 5:].any()


def test_is_float32_inside_autocast() -> None:
    student, teacher = taps()
    distiller = made(student, teacher)
    nn.init.normal_(distiller.student_blocks[0].expand.weight)
    expected = distiller(student, teacher, make_batch(BOXES))
    lower = [{name: [x.half() for x in levels] for name, levels in tensors.items()} for tensors in (student, teacher)]
    back = [{name: [x.float() for x in levels] for name, levels in tensors.items()} for tensors in lower]
    actual = distiller(*back, make_batch(BOXES))
    assert all(value.dtype == torch.float32 for value in actual.values())
    torch.testing.assert_close(actual, expected, rtol=5e-3, atol=1e-6)


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'foreground': 'queries'}, "foreground is 'queries'; .*'boxes'.*'masks'"),
        ({'temperature': 0}, 'temperature is 0; .*such as 0.5'),
        ({'alpha': -1}, 'alpha is -1; .*such as 0.001'),
        ({'alpha': 0, 'beta': 0, 'gamma': 0, 'lamda': 0}, 'so nothing is compared; nearest: alpha=0.001'),
        (
            {'reference': True, 'foreground': 'masks'},
            "reference is True with foreground='masks'.*use foreground='boxes'",
        ),
        ({'reference': True, 'alpha': 0, 'beta': 0}, 'set reference=False'),
        ({'freeze_teacher_block': False, 'lamda': 0}, 'no context to train; leave freeze_teacher_block out'),
        ({'freeze_teacher_block': 1}, 'freeze_teacher_block is 1; valid: True, False'),
        ({'adapter': 'none'}, "adapter is 'none'; valid: 'auto', None"),
    ],
)
def test_wrong_settings(settings: dict, match: str) -> None:
    with sentence(match):
        MODELS.build({'type': 'kd_plugins.FocalGlobalDistiller', 'key': 'distillers.fgd', **settings})


@pytest.mark.parametrize(
    ('settings', 'student', 'teacher', 'match'),
    [
        ({}, [(2, 4, 9)], [(2, 4, 9)], r'shape \(2, 4, 9\), and objects are found on maps'),
        ({}, [(2, 4, 8, 8)], [(2, 4, 4, 4)], 'level 0 of the student .*must have the same positions'),
        ({}, [(2, 3, 8, 8)], [(2, 3, 8, 8)], 'lamda: the global context needs at least 4 channels.*set lamda=0'),
        ({'adapter': None}, [(2, 4, 8, 8)], [(2, 6, 8, 8)], "adapter is None.*use adapter='auto'"),
    ],
)
def test_wrong_shapes(settings: dict, student: list, teacher: list, match: str) -> None:
    with sentence(match):
        made(*taps(student, teacher), **settings)


def test_a_layer_does_not_teach_itself() -> None:
    model = nn.Identity()
    with sentence('would teach itself'):
        FocalGlobalDistiller().check_models(model, model)


def test_random_adapters_draw_other_numbers_in_every_step() -> None:
    student, teacher = taps([(2, 4, 8, 8)])
    distiller = made(student, teacher, adapter={'type': 'kd_plugins.MaskedGenerator'}, alpha=0, beta=0, gamma=0)
    batch = make_batch([None, None], img_shape=(64, 40))
    losses = [
        check_step(distiller, student, teacher, replace(batch, iteration=iteration))['loss_rel'].item()
        for iteration in (0, 1, 0)
    ]
    assert losses[0] == losses[2] != losses[1]
    assert student['student_tap'][0].grad[..., 5:].abs().sum() == 0
