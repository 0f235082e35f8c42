from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.distillers import Batch, RelationDistiller
from kd_plugins.losses import affinity_loss, context_loss
from tests.distillers.common import check_step, make_batch, sentence
from tests.ranks import on_two_ranks


def taps(student: tuple[int, ...], teacher: tuple[int, ...]) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(4)
    s, t = (torch.randn(shape, generator=generator) for shape in (student, teacher))
    return {'student_tap': [s]}, {'teacher_tap': [t]}


@pytest.mark.parametrize('pairs', ['image', 'batch'])
def test_other_channels_and_sizes(pairs: str) -> None:
    """Both maps are averaged to the smaller one."""
    student, teacher = taps((2, 3, 8, 6), (2, 5, 4, 12))
    distiller = RelationDistiller('neck', pairs=pairs, temperature=0.2)
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, make_batch([None] * 2))['loss_relation']
    s, t = F.avg_pool2d(student['student_tap'][0].detach(), (2, 1)), F.avg_pool2d(teacher['teacher_tap'][0], (1, 2))
    torch.testing.assert_close(actual, affinity_loss(s, t, temperature=0.2, pairs=pairs))


def test_size_bounds_the_positions() -> None:
    student, teacher = taps((1, 3, 16, 8), (1, 3, 16, 8))
    actual = check_step(RelationDistiller('neck', size=4), student, teacher, make_batch([None]))['loss_relation']
    s, t = (F.avg_pool2d(x, (4, 2)) for x in (student['student_tap'][0].detach(), teacher['teacher_tap'][0]))
    torch.testing.assert_close(actual, affinity_loss(s, t))


@pytest.mark.parametrize('pairs', ['image', 'batch'])
def test_padding(pairs: str) -> None:
    student, teacher = taps((2, 3, 8, 8), (2, 5, 8, 8))
    distiller = RelationDistiller('neck', pairs=pairs)
    actual = check_step(distiller, student, teacher, make_batch([None] * 2, img_shape=(48, 32)))['loss_relation']
    s, t = (x[:, :, :6, :4] for x in (student['student_tap'][0].detach(), teacher['teacher_tap'][0]))
    torch.testing.assert_close(actual, affinity_loss(s, t, pairs=pairs))
    gradient = student['student_tap'][0].grad
    assert gradient[:, :, 6:].abs().sum() == 0 and gradient[..., 4:].abs().sum() == 0


@pytest.mark.parametrize('pairs', ['image', 'batch'])
def test_copy_of_the_student_as_teacher(pairs: str) -> None:
    student, _ = taps((2, 3, 4, 4), (2, 3, 4, 4))
    teacher = {'teacher_tap': [student['student_tap'][0].clone()]}
    value = check_step(RelationDistiller('neck', pairs=pairs), student, teacher, make_batch([None] * 2))
    assert value['loss_relation'].abs() < 1e-6


@pytest.mark.parametrize('pairs', ['image', 'batch'])
def test_no_images(pairs: str) -> None:
    student, teacher = taps((0, 3, 4, 4), (0, 3, 4, 4))
    assert check_step(RelationDistiller('neck', pairs=pairs), student, teacher, make_batch([]))['loss_relation'] == 0


def test_context_of_pooled_maps_and_padding() -> None:
    student, teacher = taps((2, 3, 16, 16), (2, 5, 8, 8))
    distiller = RelationDistiller('neck', kind='context', size=4)
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, make_batch([None] * 2, img_shape=(64, 32)))['loss_relation']
    s = F.avg_pool2d(student['student_tap'][0].detach(), 4)
    t = F.avg_pool2d(teacher['teacher_tap'][0], 2)
    torch.testing.assert_close(actual, context_loss(s[..., :2], t[..., :2]))
    student, teacher = taps((0, 3, 4, 4), (0, 3, 4, 4))
    assert check_step(distiller, student, teacher, make_batch([]))['loss_relation'] == 0


@pytest.mark.parametrize('kind', ['affinity', 'context'])
def test_means_of_cells_leave_padding_out(kind: str) -> None:
    """Images of 41 x 33 end within the cells of both maps, and within those that they are averaged to."""
    student, teacher = taps((2, 3, 16, 16), (2, 5, 8, 8))
    batch, distiller = make_batch([None] * 2, img_shape=(41, 33)), RelationDistiller('neck', kind=kind, size=4)
    first = check_step(distiller, student, teacher, batch)['loss_relation']
    gradient = student['student_tap'][0].grad
    assert gradient[:, :, 11:].abs().sum() == gradient[..., 9:].abs().sum() == 0 and gradient[:, :, 10, 8].all()
    with torch.no_grad():
        teacher['teacher_tap'][0][:, :, 6:] = teacher['teacher_tap'][0][..., 5:] = 50.0
    torch.testing.assert_close(check_step(distiller, student, teacher, batch)['loss_relation'], first, rtol=0, atol=0)


def test_levels_are_averaged() -> None:
    student, teacher = taps((2, 3, 4, 4), (2, 3, 4, 4))
    one = check_step(RelationDistiller('neck'), student, teacher, make_batch([None] * 2))['loss_relation']
    pair = {'student_tap': 2 * student['student_tap']}, {'teacher_tap': 2 * teacher['teacher_tap']}
    torch.testing.assert_close(
        check_step(RelationDistiller('neck'), *pair, make_batch([None] * 2))['loss_relation'], one
    )


def test_sentences() -> None:
    for options, match in (
        ({'kind': 'affinities'}, "kind is 'affinities'; nearest: 'affinity'"),
        ({'pairs': 'images'}, "pairs is 'images'; nearest: 'image'"),
        ({'temperature': 0.0}, 'temperature is 0.0'),
        ({'kind': 'context', 'pairs': 'batch'}, "pairs is 'batch' with kind='context', which does not read it"),
        ({'relations': ['value-value']}, "with kind='affinity', .* or use kind='attention'"),
        ({'size': 1}, 'size is 1; valid: an integer from 2 to 64, such as 32'),
        ({'size': 128}, 'size is 128; valid: an integer from 2 to 64, such as 32'),
    ):
        with sentence(match):
            RelationDistiller('neck', **options)
    with sentence(r'teacher_tap: a feature has shape \(2, 3, 1, 1\); tap a map'):
        RelationDistiller('neck').initialize(*taps((2, 3, 4, 4), (2, 3, 1, 1)))
    with sentence("kind is 'affinity', which compares directions .* has one channel, .*; use kind='context'"):
        RelationDistiller('neck').initialize(*taps((2, 1, 4, 4), (2, 3, 4, 4)))
    with sentence('same number of dimensions'):
        RelationDistiller('neck').initialize(*taps((2, 3, 4, 4), (2, 9, 3)))
    with sentence("'neck' would teach itself"):
        model = nn.Identity()
        RelationDistiller('neck').check_models(model, model)


def _gradient(pairs: str) -> Tensor:
    student, teacher = taps((4, 3, 6, 5), (4, 2, 6, 5))
    part = [slice(0, 1), slice(1, 4)][dist.get_rank()] if dist.is_initialized() else slice(None)
    level = student['student_tap'][0][part].clone().requires_grad_()
    samples = make_batch([None] * 4, img_shape=(40, 64)).data_samples[part]
    batch = Batch(torch.zeros(len(level), 3, 64, 64), samples)
    target = {'teacher_tap': [teacher['teacher_tap'][0][part]]}
    loss = RelationDistiller('neck', pairs=pairs)({'student_tap': [level]}, target, batch)
    return torch.autograd.grad(loss['loss_relation'], level)[0]


@pytest.mark.distributed
@pytest.mark.parametrize('pairs', ['image', 'batch'])
def test_two_ranks_equal_one_process(tmp_path: Path, pairs: str) -> None:
    ranks = on_two_ranks(tmp_path, _gradient, pairs)
    torch.testing.assert_close(torch.cat(ranks) / 2, _gradient(pairs))
