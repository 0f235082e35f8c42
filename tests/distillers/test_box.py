from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_plugins.distillers import BoxDistiller, LocalizationDistiller, Taps
from kd_plugins.losses import giou_distance
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, make_batch, sentence
from tests.distillers.dense_heads import CONFIGS, SIZES, both, detector
from tests.ranks import on_two_ranks

EVERYWHERE = [[-1.0, -1.0, 99.0, 99.0]]


def outputs_of(name: str, **kwargs: Any) -> tuple[BoxDistiller, dict, dict]:
    """A distiller between two heads of one kind, and detached outputs of both."""
    distiller = BoxDistiller(**kwargs)
    pair = both(distiller, detector(name), detector(name, seed=1))
    return (distiller, *({alias: [x.detach() for x in levels] for alias, levels in side.items()} for side in pair))


def labelled(boxes: list[Any], image: tuple[int, int] = (64, 64)) -> Any:
    batch = make_batch(boxes, image)
    for sample in batch.data_samples:
        sample.gt_instances.labels = torch.zeros(len(sample.gt_instances.bboxes), dtype=torch.long)
    return batch


@pytest.mark.parametrize('trust', ['teacher', 'difference', 'truth'])
@pytest.mark.parametrize('name', CONFIGS)
def test_step(name: str, trust: str) -> None:
    distiller = BoxDistiller(trust=trust, select=dict(ratio=0.5))
    student = detector(name)
    outputs, teacher_outputs = both(distiller, student, detector(name, seed=1), images=3)
    batch = labelled([EVERYWHERE] * 3)
    for label, sample in enumerate(batch.data_samples):
        sample.gt_instances.labels[:] = label
    losses = distiller(outputs, teacher_outputs, batch)
    assert losses['loss_box'] > 0 and set(losses) == set(distiller.loss_names)
    losses['loss_box'].backward()
    layer = distiller.student_taps()['boxes'].removesuffix('.*')
    gradients = [parameter.grad for parameter in student.get_submodule(layer).parameters()]
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    # The weights carry no gradient, so the class branch gets none.
    classes = student.get_submodule(distiller.teacher_taps()['scores'].removesuffix('.*'))
    assert all(parameter.grad is None for parameter in classes.parameters())
    assert not list(distiller.parameters())


@pytest.mark.parametrize('image', [(64, 64), (40, 50)])
def test_value_by_hand(image: tuple[int, int]) -> None:
    distiller, student, teacher = outputs_of('fcos', select=dict(score=0.5))
    loss = check_step(distiller, student, teacher, make_batch([None, None], image))['loss_box']
    total, weights = 0.0, 0.0
    for level, stride in enumerate((8, 16)):
        for n in range(2):
            for row in range(SIZES[level][0]):
                for column in range(SIZES[level][1]):
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    confidence = teacher['scores'][level][n, :, row, column].sigmoid().max().item()
                    if x >= image[1] or y >= image[0] or confidence < 0.5:
                        continue
                    boxes = []
                    for side in (student, teacher):
                        left, top, right, bottom = side['boxes'][level][n, :, row, column].clamp(min=0) * stride
                        boxes.append(torch.stack([x - left, y - top, x + right, y + bottom]))
                    if (boxes[1][2:] <= boxes[1][:2]).any():
                        continue
                    total += confidence * giou_distance(*boxes).item()
                    weights += confidence
    assert weights > 1
    torch.testing.assert_close(loss, torch.tensor(total / weights))


@pytest.mark.parametrize('name', CONFIGS)
def test_equal_networks_lose_nothing(name: str) -> None:
    distiller = BoxDistiller()
    outputs, teacher_outputs = both(distiller, detector(name), detector(name))
    loss = distiller(outputs, teacher_outputs, make_batch([None, None]))['loss_box']
    assert loss.abs() < 1e-5


@pytest.mark.parametrize('name', ['fcos', 'retina', 'yolox', 'rtmdet_sep_exp'])
def test_gradcheck(name: str) -> None:
    distiller, student, teacher = outputs_of(name, select=dict(ratio=0.4))
    teacher = {alias: [x.double() for x in levels] for alias, levels in teacher.items()}
    batch = make_batch([None, None])

    def loss(*boxes: Tensor) -> Tensor:
        return distiller({'boxes': boxes}, teacher, batch)['loss_box']

    # FCOS clamps at 0, where finite differences see the bend.
    boxes = [x.double().abs() + 0.1 if name == 'fcos' else x.double() for x in student['boxes']]
    assert torch.autograd.gradcheck(loss, [x.requires_grad_() for x in boxes], fast_mode=True)


def test_padding() -> None:
    """Outputs on padding change nothing, neither by value nor by being selected."""
    distiller, student, teacher = outputs_of('atss', select=dict(ratio=0.3))
    batch = make_batch([None, None], img_shape=(32, 64))
    loss = check_step(distiller, student, teacher, batch)['loss_box']
    grad = student['boxes'][0].grad
    assert grad[:, :, 4:].abs().sum() == 0 and grad[:, :, :4].abs().sum() > 0
    for side in (student, teacher):
        for levels in side.values():
            for level in levels:
                level.data[:, :, level.shape[2] // 2 :] = 9.0
    assert check_step(distiller, student, teacher, batch)['loss_box'] == loss


def test_nothing_selected() -> None:
    distiller, student, teacher = outputs_of('atss', select=dict(score=1.0))
    assert check_step(distiller, student, teacher, make_batch([None, None]))['loss_box'] == 0
    assert distiller.monitors()['selected'] == 0
    distiller, student, teacher = outputs_of('atss', select=dict(ratio=0.1))
    assert check_step(distiller, student, teacher, make_batch([None, None], img_shape=(0, 0)))['loss_box'] == 0


def test_share_of_the_selected() -> None:
    distiller, student, teacher = outputs_of('retina', select=dict(ratio=0.05))
    check_step(distiller, student, teacher, make_batch([None, None]))
    torch.testing.assert_close(distiller.monitors()['selected'], torch.tensor(24 / 480))  # ceil(0.05 * 480)
    assert not BoxDistiller().monitors()


def test_truth_needs_the_right_class() -> None:
    distiller, student, teacher = outputs_of('atss', trust='truth')
    for level in teacher['scores']:
        level[:] = torch.tensor([3.0, -3.0, -3.0])[:, None, None]
    batch = labelled([EVERYWHERE, EVERYWHERE])
    right = check_step(distiller, student, teacher, batch)['loss_box']
    batch.data_samples[0].gt_instances.labels[:] = 1
    batch.data_samples[1].gt_instances.labels[:] = 2
    assert right > 0 and check_step(distiller, student, teacher, batch)['loss_box'] == 0


def test_agrees_with_localization_distillation() -> None:
    """A step against the gradient of one term lowers the other, on a head with distributions."""
    student, teacher = detector('gfl'), detector('gfl', seed=1)
    batch = make_batch([None, None])
    box, localization = BoxDistiller(), LocalizationDistiller(trust='teacher', temperature=1.0)
    for first, second, alias, other in ((box, localization, 'boxes', 'logits'), (localization, box, 'logits', 'boxes')):
        outputs, teacher_outputs = both(first, student, teacher)
        others, teacher_others = both(second, student, teacher)
        loss = next(iter(first(outputs, teacher_outputs, batch).values()))
        gradients = torch.autograd.grad(loss, outputs[alias])
        moved = {**others, other: [x - 5.0 * g for x, g in zip(others[other], gradients)]}
        before, after = (next(iter(second(side, teacher_others, batch).values())) for side in (others, moved))
        assert after < before


@pytest.mark.parametrize(
    ('student', 'teacher'), [('fcos', 'atss'), ('atss', 'fcos'), ('yolox', 'rtmdet_sep'), ('fcos', 'gfl')]
)
def test_heads_of_two_kinds(student: str, teacher: str) -> None:
    """Anchors teach points and the other way round; each side has its own layers."""
    distiller = BoxDistiller()
    outputs = both(distiller, detector(student), detector(teacher, seed=1))
    assert distiller(*outputs, make_batch([None, None]))['loss_box'] > 0


def test_config_sentences() -> None:
    build = {'type': 'kd_plugins.BoxDistiller', 'key': 'distillers.box'}
    distiller = MODELS.build(build)
    with sentence("distillers.box.trust is 'agreement'; "):
        MODELS.build({**build, 'trust': 'agreement'})
    fcos, retina = detector('fcos'), detector('retina')
    with sentence("distillers.box.head: 'bbox_head' names no module of the student; nearest: 'box'"):
        distiller.check_models(nn.ModuleDict({'box': fcos.bbox_head}), fcos)
    with sentence("distillers.box.head: 'bbox_head' of the teacher is Identity, whose boxes cannot be decoded"):
        distiller.check_models(fcos, nn.ModuleDict({'bbox_head': nn.Identity()}))
    with sentence(r"predicts 1 in each cell at strides \[8.0, 16.0\] and the teacher's 3 in each cell"):
        distiller.check_models(fcos, retina)
    with sentence('give a teacher'):
        distiller.check_models(fcos, fcos)


def test_shape_sentences() -> None:
    distiller, student, teacher = outputs_of('fcos', trust='difference')
    with sentence("'bbox_head.scales.*' gives 1 levels and the head has 2 strides"):
        distiller.initialize({**student, 'boxes': student['boxes'][:1]}, {**teacher, 'boxes': teacher['boxes'][:1]})
    with sentence(r'of the student has shape \(2, 3, 8, 8\); it must be \(N, 1 \* 4, H, W\)'):
        distiller.initialize({**student, 'boxes': student['scores']}, teacher)
    with sentence('both must predict at the same locations'):
        distiller.initialize(student, {**teacher, 'boxes': [x[..., :2] for x in teacher['boxes']]})
    with sentence('class logits belong to the same locations'):
        distiller.initialize(student, {**teacher, 'scores': [x[..., :2] for x in teacher['scores']]})
    with sentence('both must predict the same classes'):
        distiller.initialize({**student, 'scores': [x[:, :2] for x in student['scores']]}, teacher)


def _share(images: list[slice], select: dict[str, float], trust: str) -> dict[str, list[Tensor]]:
    """Gradients of the share of one rank, or of the whole batch without ranks."""
    distiller, student, teacher = outputs_of('atss', select=select, trust=trust)
    part = images[dist.get_rank()] if dist.is_initialized() else slice(None)
    sides: list[Taps] = [
        {alias: [x[part].clone().requires_grad_() for x in levels] for alias, levels in side.items()}
        for side in (student, teacher)
    ]
    batch = make_batch([None] * len(sides[0]['boxes'][0]))
    loss = distiller(*sides, batch)['loss_box']
    return {'boxes': list(torch.autograd.grad(loss, list(sides[0]['boxes'])))}


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    images = [slice(0, 1), slice(1, 2)]
    for number, (select, trust) in enumerate(((dict(ratio=0.05), 'teacher'), (dict(score=0.7), 'difference'))):
        folder = tmp_path / str(number)
        folder.mkdir()
        ranks = on_two_ranks(folder, _share, images, select, trust)
        for level, whole in enumerate(_share(images, select, trust)['boxes']):
            # DDP averages the gradients of the parameters over ranks, so each image's share is halved.
            split = torch.cat([rank['boxes'][level] for rank in ranks]) / 2
            torch.testing.assert_close(split, whole)
