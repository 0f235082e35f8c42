"""Cross-head distillation: values by hand, gradients, heads, ranks, and detectors that train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_plugins.distillers import CrossHeadDistiller, Taps
from kd_plugins.losses import giou_distance
from kd_plugins.registry import MODELS
from tests.distillers.common import make_batch, sentence
from tests.distillers.dense_heads import Detector, detector, features, tapped
from tests.distillers.two_steps import two_steps
from tests.ranks import on_two_ranks

HEADS = ('gfl', 'atss', 'retina', 'fcos', 'fcos_exp')
CONVS = dict(stacked_convs=3)


def sides(
    distiller: CrossHeadDistiller, student: Detector, teacher: Detector, images: int = 2, positives: int | None = None
) -> tuple[dict, dict]:
    """Outputs of the taps of both networks; with ``positives``, so many locations have an assigned object."""
    distiller.check_models(student, teacher)
    teacher.eval().requires_grad_(False)
    normalizer, distiller.normalizer = distiller.normalizer, 'confidence'
    outputs = tapped(distiller, student, 'student', features(images))[0]
    with torch.no_grad():
        teacher_outputs = tapped(distiller, teacher, 'teacher', features(images, seed=1))[0]
    distiller.normalizer = normalizer
    if positives is not None:
        labels = torch.full((100,), 3)
        labels[:positives] = 1
        # As the quality focal loss gets them: labels and IoUs of each level.
        outputs['labels'] = [labels, torch.zeros(100), labels.new_full((7,), 3), torch.zeros(7)]
    distiller.initialize(outputs, teacher_outputs)
    return outputs, teacher_outputs


def losses_of(
    distiller: CrossHeadDistiller, teacher: Detector, student_outputs: Taps, teacher_outputs: Taps, batch: Any
) -> dict[str, Tensor]:
    maps = features(len(teacher_outputs['cls'][0]), seed=1)
    answers = distiller.query(teacher, maps, student_outputs, teacher_outputs, batch)
    losses = distiller(student_outputs, {**teacher_outputs, **answers}, batch)
    assert tuple(losses) == distiller.loss_names
    assert all(value.shape == () and value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    return losses


@pytest.mark.parametrize('index', [0, 1, 3])
@pytest.mark.parametrize('name', HEADS)
def test_gradients(name: str, index: int) -> None:
    distiller = CrossHeadDistiller(index=index)
    student, teacher = detector(name, **CONVS), detector(name, seed=1, **CONVS)
    outputs, teacher_outputs = sides(distiller, student, teacher, positives=4)
    if index == 0:
        # Both branches tap the features of the neck, which belong to no parameter of the head.
        outputs = {**outputs, **{branch: [x.requires_grad_() for x in outputs[branch]] for branch in ('cls', 'reg')}}
    losses = losses_of(distiller, teacher, outputs, teacher_outputs, make_batch([None, None]))
    assert losses['loss_cls'] > 0 and losses['loss_reg'] > 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(param.grad is None for param in teacher.parameters())
    for branch in ('cls', 'reg'):
        for number, conv in enumerate(getattr(student.bbox_head, f'{branch}_convs')):
            reached = conv.conv.weight.grad is not None and conv.conv.weight.grad.abs().sum() > 0
            assert reached == (number < index)
    predictors = [param for name, param in student.bbox_head.named_parameters() if '_convs' not in name]
    assert predictors and all(param.grad is None for param in predictors)


def by_hand(maps: list[Tensor], targets: list[Tensor]) -> list[Tensor]:
    """The formula of the paper, without masks."""
    aligned = []
    for x, y in zip(maps, targets):
        (std, mean), (target_std, target_mean) = (torch.std_mean(z, dim=(0, 2, 3), keepdim=True) for z in (x, y))
        aligned.append((x - mean) / (std + 1e-6) * target_std + target_mean)
    return aligned


@pytest.mark.parametrize('name', ['gfl', 'retina', 'atss'])
def test_value_by_hand(name: str) -> None:
    distiller = CrossHeadDistiller(index=2)
    student, teacher = detector(name, **CONVS), detector(name, seed=1, **CONVS)
    outputs, teacher_outputs = sides(distiller, student, teacher, positives=4)
    losses = losses_of(distiller, teacher, outputs, teacher_outputs, make_batch([None, None]))
    head = teacher.bbox_head
    own = head(features(seed=1))
    cross: dict[str, list[Tensor]] = {}
    for branch in ('cls', 'reg'):
        before = []
        for level in features():
            convs = getattr(student.bbox_head, f'{branch}_convs')
            second = convs[1]
            x = second.conv(convs[0](level))
            before.append(second.norm(x) if second.with_norm else x)
        theirs = []
        for level in features(seed=1):
            convs = getattr(head, f'{branch}_convs')
            x = convs[1].conv(convs[0](level))
            theirs.append(convs[1].norm(x) if convs[1].with_norm else x)
        last = [getattr(head, f'{branch}_convs')[2](x.relu()) for x in by_hand(before, theirs)]
        predictor = getattr(head, f'{name}_{branch}')
        scales = head.scales if branch == 'reg' and name != 'retina' else [nn.Identity()] * 2
        cross[branch] = [scale(predictor(x)) for scale, x in zip(scales, last)]
    if name == 'atss':
        cross['centerness'] = [head.atss_centerness(x) for x in last]
    total = [torch.zeros(()), torch.zeros(()), torch.zeros(())]
    weights = torch.zeros(())
    for level in range(2):
        anchors = 3 if name == 'retina' else 1
        rows = [
            x[level].permute(0, 2, 3, 1).reshape(-1, x[level].shape[1] // anchors)
            for x in (cross['cls'], own[0], cross['reg'], own[1])
        ]
        target = rows[1].sigmoid()
        entropy = nn.functional.binary_cross_entropy_with_logits(rows[0], target, reduction='none')
        total[0] = total[0] + ((rows[0].sigmoid() - target).abs() * entropy).sum()
        confidence = target.max(dim=1).values
        weights = weights + confidence.sum()
        if name == 'gfl':
            p, q = (x.view(-1, 4, 8).log_softmax(-1) for x in (rows[3], rows[2]))
            distance = nn.functional.kl_div(q, p, log_target=True, reduction='none').sum(-1).mean(-1)
        else:
            priors = head.prior_generator.grid_priors([x.shape[-2:] for x in own[0]], device='cpu')[level].repeat(2, 1)
            distance = giou_distance(*(head.bbox_coder.decode(priors, x) for x in (rows[2], rows[3])))
        if name == 'atss':
            centers = [x[level].flatten() for x in (cross['centerness'], own[2])]
            for x, sign in zip(centers, (1, -1)):
                entropy = nn.functional.binary_cross_entropy_with_logits(x, centers[1].sigmoid(), reduction='none')
                total[2] = total[2] + sign * (entropy * confidence).sum()
        total[1] = total[1] + (distance * confidence).sum()
    torch.testing.assert_close(losses['loss_cls'], total[0] / 4, rtol=1e-4, atol=1e-5)
    expected = 4 * total[1] / weights if name == 'gfl' else total[1] / 4
    torch.testing.assert_close(losses['loss_reg'], expected, rtol=1e-4, atol=1e-5)
    assert ('loss_centerness' in losses) == (name == 'atss')
    if name == 'atss':
        torch.testing.assert_close(losses['loss_centerness'], total[2] / 4, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', HEADS)
def test_a_copy_of_the_student_teaches_nothing(name: str) -> None:
    distiller = CrossHeadDistiller(index=2, normalizer='confidence')
    student, teacher = detector(name, **CONVS), detector(name, **CONVS)
    outputs, _ = sides(distiller, student, teacher)
    with torch.no_grad():
        same = tapped(distiller, teacher, 'teacher', features())[0]
    answers = distiller.query(teacher, features(), outputs, same, make_batch([None, None]))
    losses = distiller(outputs, {**same, **answers}, make_batch([None, None]))
    assert all(value.abs() < 1e-4 for value in losses.values())


def test_factors_and_divisors() -> None:
    student, teacher, batch = detector('atss', **CONVS), detector('atss', seed=1, **CONVS), make_batch([None, None])
    values = {}
    for positives, options in (
        (4, {}),
        (8, {}),
        (8, dict(cls_weight=0.5, reg_weight=3.0, centerness_weight=2.0)),
        (0, {}),
    ):
        distiller = CrossHeadDistiller(**options)
        pair = sides(distiller, student, teacher, positives=positives)
        losses = losses_of(distiller, teacher, *pair, batch)
        values[positives, bool(options)] = torch.stack(list(losses.values()))
    torch.testing.assert_close(values[4, False], 2 * values[8, False])
    torch.testing.assert_close(values[8, True], values[8, False] * torch.tensor([0.5, 3.0, 2.0]))
    torch.testing.assert_close(values[0, False], 4 * values[4, False])
    distiller = CrossHeadDistiller(normalizer='confidence')
    outputs, teacher_outputs = sides(distiller, student, teacher)
    total = sum(x.sigmoid().amax(1).sum() for x in teacher_outputs['scores'])
    torch.testing.assert_close(
        losses_of(distiller, teacher, outputs, teacher_outputs, batch)['loss_cls'] * total, 4 * values[4, False][0]
    )


def test_other_channels_have_an_adapter() -> None:
    distiller = CrossHeadDistiller(index=1, normalizer='confidence')
    student, teacher = detector('gfl', **CONVS, feat_channels=6), detector('gfl', seed=1, **CONVS)
    outputs, teacher_outputs = sides(distiller, student, teacher)
    losses = losses_of(distiller, teacher, outputs, teacher_outputs, make_batch([None, None]))
    torch.stack(list(losses.values())).sum().backward()
    parameters = dict(distiller.named_parameters())
    assert sorted(parameters) == [
        f'adapters.{branch}.projection.{kind}' for branch in ('cls', 'reg') for kind in ('bias', 'weight')
    ]
    assert all(parameter.grad is not None for parameter in parameters.values())
    assert not list(CrossHeadDistiller().parameters())


def test_padding_counts_for_nothing() -> None:
    distiller = CrossHeadDistiller(index=3, normalizer='confidence')
    student, teacher = detector('gfl', **CONVS), detector('gfl', seed=1, **CONVS)
    outputs, teacher_outputs = sides(distiller, student, teacher)
    empty = losses_of(distiller, teacher, outputs, teacher_outputs, make_batch([None, None], img_shape=(0, 0)))
    assert all(value == 0 and value.requires_grad for value in empty.values())
    batch = make_batch([None, None], img_shape=(32, 64))
    losses = losses_of(distiller, teacher, outputs, teacher_outputs, batch)
    # The predictor sees one cell beyond the picture, so all but the nearest row of the padding may change.
    for side in (outputs, teacher_outputs):
        for levels in side.values():
            for level in levels:
                level.data[:, :, level.shape[2] // 2 + 1 :] = 9.0
    for name, value in losses_of(distiller, teacher, outputs, teacher_outputs, batch).items():
        torch.testing.assert_close(value, losses[name])


def test_config_sentences() -> None:
    build = {'type': 'kd_plugins.CrossHeadDistiller', 'key': 'distillers.cross'}
    for options, words in (
        (dict(index=-1), 'distillers.cross.index is -1; valid: a number of convolutions'),
        (dict(beta=0.5), 'distillers.cross.beta is 0.5, for which the gradient is infinite'),
        (dict(normalizer='labels'), "distillers.cross.normalizer is 'labels'; "),
    ):
        with sentence(words):
            MODELS.build({**build, **options})
    distiller, gfl = MODELS.build(build), detector('gfl', **CONVS)
    with sentence("index is 3, and 'bbox_head' of the student has 1 convolutions in cls_convs; valid: 0 to 1"):
        distiller.check_models(detector('gfl'), gfl)
    with sentence("distillers.cross.centerness_weight is 1.0, and 'bbox_head' predicts no centerness; leave it out"):
        MODELS.build({**build, 'centerness_weight': 1.0}).check_models(gfl, gfl)
    with sentence('distillers.cross: cls_weight and reg_weight are 0, so nothing is compared; use for example'):
        MODELS.build({**build, 'cls_weight': 0.0, 'reg_weight': 0.0}).check_models(gfl, gfl)
    with sentence("head: 'bbox_head' names no module of the student; nearest: .*'box'"):
        distiller.check_models(nn.ModuleDict({'box': gfl.bbox_head}), gfl)
    with sentence("'bbox_head' of the teacher is RTMDetSepBNHead, which has no cls_convs that all levels share"):
        distiller.check_models(gfl, detector('rtmdet_sep', **CONVS))
    with sentence('predicts 1 in each cell .* and the teacher.s 3 in each cell'):
        distiller.check_models(gfl, detector('retina', **CONVS))
    with sentence('the teacher predicts 3 classes where the student predicts 5'):
        sides(MODELS.build({**build, 'normalizer': 'confidence'}), detector('gfl', **CONVS, num_classes=5), gfl)
    assert str(distiller.needs_labels).endswith("use normalizer='confidence'")


def _share(name: str, images: list[slice]) -> dict[str, list[Tensor]]:
    """Gradients of the share of one rank, or of the whole batch without ranks."""
    distiller = CrossHeadDistiller(index=2)
    student, teacher = detector(name, **CONVS), detector(name, seed=1, **CONVS)
    outputs, teacher_outputs = sides(distiller, student, teacher, images=3, positives=12)
    rank = dist.get_rank() if dist.is_initialized() else None
    part = slice(None) if rank is None else images[rank]
    mine = {branch: [x.detach()[part].requires_grad_() for x in outputs[branch]] for branch in ('cls', 'reg')}
    theirs = {alias: [x[part] for x in levels] for alias, levels in teacher_outputs.items()}
    labels = torch.full((40,), 3)
    labels[: 12 if rank is None else (4, 8)[rank]] = 0
    maps = [x[part] for x in features(3, seed=1)]
    batch = make_batch([None] * len(maps[0]), img_shape=(48, 64))
    answers = distiller.query(teacher, maps, mine, theirs, batch)
    losses = distiller({**mine, 'labels': [labels]}, {**theirs, **answers}, batch)
    loss = torch.stack(list(losses.values())).sum()
    gradients = torch.autograd.grad(loss, [*mine['cls'], *mine['reg']])
    return {'cls': list(gradients[:2]), 'reg': list(gradients[2:])}


@pytest.mark.distributed
@pytest.mark.parametrize('name', ['gfl', 'fcos'])
def test_two_ranks_equal_one_process(tmp_path: Path, name: str) -> None:
    images = [slice(0, 1), slice(1, 3)]
    ranks = on_two_ranks(tmp_path, _share, name, images)
    for branch, levels in _share(name, images).items():
        for level, whole in enumerate(levels):
            split = torch.cat([rank[branch][level] for rank in ranks]) / 2
            torch.testing.assert_close(split, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('teacher', ['ema', 'frozen'])
def test_a_detector_learns_from_it(teacher: str) -> None:
    entry = dict(type='kd_plugins.CrossHeadDistiller', index=1)
    runs = two_steps('gfl/gfl_r18_bccd.py', dict(cross=entry), teacher)
    assert set(runs.terms) == {'distill.cross.loss_cls', 'distill.cross.loss_reg'}
    assert all(value > 0 for value in runs.terms.values())
    assert runs.reached('bbox_head.cls_convs.0.conv.weight') and runs.reached('backbone.conv1.weight')
