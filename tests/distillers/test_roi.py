"""RoI distillation: the teacher's answers, labels, values by hand, and detectors that train."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_plugins.distillers import Batch, RoIDistiller
from kd_plugins.losses import dkd_loss
from kd_plugins.registry import MODELS
from kd_plugins.taps import TapSet
from kd_plugins.teachers.fixed import FixedTeacher
from tests.distillers.common import sentence
from tests.distillers.roi_models import model_of
from tests.distillers.two_steps import small_detector, two_steps
from tests.ranks import on_two_ranks


def pair(name: str, **changes: Any) -> tuple[Any, Any, Any]:
    """A student, a teacher with other weights, and a preprocessed batch of two images, one without objects."""
    student, batch = small_detector(model_of(name, **changes))
    teacher = copy.deepcopy(student).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for param in teacher.roi_head.parameters():
        param.add_(0.05 * torch.randn(param.shape, generator=generator))
    return student, teacher, student.data_preprocessor(batch, True)


def asked(distiller: RoIDistiller, student: Any, teacher: Any, data: Any) -> tuple[dict, dict, Batch, dict]:
    """Outputs of the student's taps, answers of the teacher, the batch, and the losses."""
    distiller.check_models(student, teacher)
    paths = distiller.student_taps()
    taps = TapSet(student, {f'distillers.roi.{alias}': path for alias, path in paths.items()})
    student.train()
    with taps.forward_pass(ends_early=False):
        student(**copy.deepcopy(data), mode='loss')
    outputs = {alias: taps.read(path, alias in distiller.may_rest) for alias, path in paths.items()}
    taps.remove()
    distiller.initialize(outputs, {})
    batch = Batch(data['inputs'], data['data_samples'])
    with torch.no_grad():
        answers = distiller.query(teacher, teacher.extract_feat(data['inputs']), outputs, {}, batch)
    losses = distiller(outputs, answers, batch)
    assert tuple(losses) == distiller.loss_names
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    return outputs, dict(answers), batch, losses


@pytest.mark.parametrize(
    ('name', 'names'),
    [
        ('faster', ('loss_cls', 'loss_reg')),
        ('mask', ('loss_cls', 'loss_reg', 'loss_mask')),
        ('cascade', ('loss_cls', 'loss_reg')),
        ('cascade_mask', ('loss_cls', 'loss_reg', 'loss_mask')),
    ],
)
def test_gradients(name: str, names: tuple[str, ...]) -> None:
    student, teacher, data = pair(name)
    distiller = RoIDistiller()
    losses = asked(distiller, student, teacher, data)[-1]
    assert tuple(losses) == names and all(value > 0 for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert all(param.grad is None for param in teacher.parameters())
    for part in ('bbox_head', 'mask_head')[: len(names) - 1 if len(names) == 3 else 1]:
        layers = getattr(student.roi_head, part)
        stages = layers if isinstance(layers, nn.ModuleList) else [layers]
        for stage in stages:
            assert any(param.grad is not None and param.grad.abs().sum() > 0 for param in stage.parameters())
    assert student.backbone.conv1.weight.grad.abs().sum() > 0


def test_value_by_hand() -> None:
    student, teacher, data = pair('mask')
    distiller = RoIDistiller(temperature=2.0, alpha=0.5, beta=3.0)
    outputs, answers, _, losses = asked(distiller, student, teacher, data)
    rois = outputs['rois_0'][0]
    objects = data['data_samples'][0].gt_instances
    boxes = getattr(objects.bboxes, 'tensor', objects.bboxes)
    from mmdet.structures.bbox import bbox_overlaps

    labels = torch.full((len(rois),), 3)
    for index, roi in enumerate(rois):
        if roi[0] == 0:
            overlap = bbox_overlaps(roi[None, 1:], boxes)[0]
            if overlap.max() >= 0.5:
                labels[index] = objects.labels[overlap.argmax()]
    assert 0 < (labels < 3).sum() < len(labels)
    # The very call of MMDetection's head.
    with torch.no_grad():
        expected = teacher.roi_head._bbox_forward(teacher.extract_feat(data['inputs']), rois)
    torch.testing.assert_close(answers['boxes_0'][0], expected['cls_score'])
    torch.testing.assert_close(answers['boxes_0'][1], expected['bbox_pred'])
    torch.testing.assert_close(
        losses['loss_cls'], dkd_loss(outputs['boxes_0'][0], expected['cls_score'], labels, 2.0, 0.5, 3.0)
    )
    total, weights = 0.0, 0.0
    for index, label in enumerate(labels.tolist()):
        if label < 3:
            weight = expected['cls_score'][index].softmax(0)[label].item()
            mine, theirs = (x[index].view(3, 4)[label] for x in (outputs['boxes_0'][1], expected['bbox_pred']))
            total += weight * nn.functional.smooth_l1_loss(mine, theirs, reduction='sum').item()
            weights += weight
    torch.testing.assert_close(losses['loss_reg'], torch.tensor(total / max(weights, 1.0)))
    mask_rois = outputs['mask_rois_0'][0]
    assert len(mask_rois) == (labels < 3).sum() and answers['masks_0'][0].shape == outputs['masks_0'][0].shape
    values = []
    for index, roi in enumerate(mask_rois):
        label = objects.labels[bbox_overlaps(roi[None, 1:], boxes)[0].argmax()]
        p, q = (x[0][index, label].sigmoid() for x in (answers['masks_0'], outputs['masks_0']))
        values.append((p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean())
    torch.testing.assert_close(losses['loss_mask'], torch.stack(values).mean(), rtol=1e-4, atol=1e-6)


def test_with_the_task_loss_the_divergence_is_a_mixed_target() -> None:
    student, teacher, data = pair('faster')
    distiller = RoIDistiller(divergence='kl', reg=False)
    distiller.check_models(student, teacher)
    paths = distiller.student_taps()
    taps = TapSet(student, {f'distillers.roi.{alias}': path for alias, path in paths.items()})
    with taps.forward_pass(ends_early=False):
        task = student.train()(**copy.deepcopy(data), mode='loss')['loss_cls']
    outputs = {alias: taps.read(path) for alias, path in paths.items()}
    taps.remove()
    batch = Batch(data['inputs'], data['data_samples'])
    answers = distiller.query(teacher, teacher.extract_feat(data['inputs']), outputs, {}, batch)
    (divergence,) = distiller(outputs, answers, batch).values()
    logits, share = outputs['boxes_0'][0], 0.3
    (gradient,) = torch.autograd.grad((1 - share) * task + share * divergence, logits, retain_graph=True)
    (of_label,) = torch.autograd.grad(task, logits)
    # The gradient of a cross-entropy is the prediction minus its target, by the number of RoIs.
    label = logits.softmax(-1) - len(logits) * of_label
    target = (1 - share) * label + share * answers['boxes_0'][0].softmax(-1)
    torch.testing.assert_close(gradient, (logits.softmax(-1) - target) / len(logits), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('name', ['mask', 'cascade'])
def test_a_copy_of_the_student_teaches_nothing(name: str) -> None:
    student, _, data = pair(name, backbone__norm_eval=True, backbone__norm_cfg=dict(type='BN', requires_grad=False))
    student.train()
    for value in asked(RoIDistiller(), student, copy.deepcopy(student).eval(), data)[-1].values():
        assert value.abs() < 1e-5


@pytest.mark.parametrize('name', ['mask', 'cascade'])
def test_taps_of_another_distiller_change_no_answer(name: str) -> None:
    """With a tap, a fixed teacher computes with channels last on a CPU, which MMCV's RoIAlign misreads."""
    student, model, data = pair(name)
    distiller = RoIDistiller()
    outputs, _, batch, _ = asked(distiller, student, model, data)
    teacher = FixedTeacher(None, strict=True, seed=0, fold=True)
    teacher._take(model, student)
    answers = []
    for paths in ({}, {'distillers.features.teacher_tap': 'neck.fpn_convs.*'}):
        taps = TapSet(model, paths, 'teacher')
        for _ in range(2):
            features = teacher.run_and_extract((data['inputs'], data['data_samples']), {}, taps)
            answers.append(distiller.query(model, features, outputs, {}, batch))
        taps.remove()
    assert teacher.folding is not None and teacher.folding.form is not None and teacher.folding.form.channels_last
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-3, atol=1e-4)


def test_stages_of_a_cascade() -> None:
    student, teacher, data = pair('cascade')
    torch.manual_seed(0)
    whole = asked(RoIDistiller(), student, teacher, data)[-1]
    parts = []
    for stage in range(3):
        torch.manual_seed(0)
        distiller = RoIDistiller(stages=(stage,))
        parts.append(asked(distiller, student, teacher, data)[-1])
        assert distiller.student_head is not None and distiller.student_head.thresholds == (0.5, 0.6, 0.7)
        assert set(distiller.student_taps()) == {'boxes_0', f'rois_{stage}', f'boxes_{stage}'}
    for name, value in whole.items():
        torch.testing.assert_close(value, sum(part[name] for part in parts))


def checked(student: Any, teacher: Any, **options: Any) -> RoIDistiller:
    distiller = RoIDistiller(**options)
    distiller.check_models(student, teacher)
    return distiller


def test_what_learns() -> None:
    student, teacher, data = pair('mask')
    assert set(asked(RoIDistiller(reg=False, mask=False), student, teacher, data)[-1]) == {'loss_cls'}
    assert 'masks_0' in checked(student, teacher, mask=True).student_taps()
    assert 'masks_0' not in checked(student, teacher, mask=False).student_taps()


def without_objects(data: Any) -> Any:
    """Remove the objects of all images, and their masks."""
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    return data


def test_images_without_objects() -> None:
    student, teacher, data = pair('mask')
    outputs, _, _, losses = asked(RoIDistiller(), student, teacher, without_objects(data))
    assert len(outputs['mask_rois_0'][0]) == 0 and len(outputs['rois_0'][0]) > 0
    assert losses['loss_cls'] > 0 and losses['loss_reg'] == 0 and losses['loss_mask'] == 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(param.grad.isfinite().all() for param in student.roi_head.parameters() if param.grad is not None)


def test_no_rois() -> None:
    student, teacher, data = pair('mask')
    distiller = RoIDistiller()
    outputs, _, batch, _ = asked(distiller, student, teacher, data)
    empty = {alias: [x[:0].detach().requires_grad_() for x in tensors] for alias, tensors in outputs.items()}
    with torch.no_grad():
        answers = distiller.query(teacher, teacher.extract_feat(data['inputs']), empty, {}, batch)
    losses = distiller(empty, answers, batch)
    assert all(value == 0 and value.requires_grad for value in losses.values())


NO_PROPOSALS = {'train_cfg__rpn_proposal__min_bbox_size': 10**6}


@pytest.mark.parametrize(('name', 'stages'), [('cascade_mask', '*'), ('cascade', (2,))])
def test_a_cascade_without_proposals(name: str, stages: Any) -> None:
    # Without objects there are no proposals at all, and MMDetection runs the first stage alone.
    student, teacher, data = pair(name, **NO_PROPOSALS)
    distiller = RoIDistiller(stages=stages)
    outputs, answers, _, losses = asked(distiller, student, teacher, without_objects(data))
    assert outputs['boxes_2'] == [] and len(outputs['boxes_0'][0]) == 0 and 'boxes_2' not in answers
    assert all(value == 0 and value.requires_grad for value in losses.values())


def _reduced(stages: int) -> int:
    """Return the number of values that this rank's losses reduce, where only the first stages have RoIs."""
    rested = dist.get_rank() == 1
    distiller = RoIDistiller()
    distiller.with_mask = True
    distiller.student_head = SimpleNamespace(  # type: ignore[assignment]
        stages=(0, 1), weights=(1.0, 1.0), thresholds=(0.5, 0.5), num_classes=3
    )
    rows = 0 if rested else 2
    names = {'boxes': (torch.randn(rows, 4), torch.randn(rows, 4)), 'masks': (torch.randn(rows, 3, 2, 2),)}
    boxes = torch.tensor([[0.0, 1.0, 1.0, 9.0, 9.0], [0.0, 2.0, 2.0, 30.0, 30.0]])[:rows]
    outputs: dict[str, list[Tensor]] = {}
    answers: dict[str, list[Tensor]] = {}
    for stage in range(2):
        ran = not rested or stage < stages
        for kind, values in names.items():
            outputs[f'{kind}_{stage}'] = [x.clone().requires_grad_() for x in values] if ran else []
            answers.update({f'{kind}_{stage}': [x + 1 for x in values]} if ran else {})
        for kind in ('rois', 'mask_rois'):
            outputs[f'{kind}_{stage}'] = [boxes] if ran else []
    sample = SimpleNamespace(gt_instances=Objects(boxes[:, 1:], torch.ones(rows, dtype=torch.long)))
    losses = distiller(outputs, answers, Batch(torch.zeros(1, 3, 64, 64), [sample]))
    torch.stack(list(losses.values())).sum().backward()
    # Each rank has taken part in the same sums, so this one meets that of the other rank.
    count = torch.ones(())
    dist.all_reduce(count)
    return int(count)


@pytest.mark.distributed
def test_a_rank_whose_stages_rest_reduces_the_same_sums(tmp_path: Path) -> None:
    assert on_two_ranks(tmp_path, _reduced, 1) == [2, 2]


def test_unlabelled_images_have_the_labels_of_the_teacher() -> None:
    student, teacher, data = pair('mask')
    distiller = RoIDistiller()
    distiller.on = 'unlabelled'
    outputs, answers, _, losses = asked(distiller, student, teacher, data)
    assert tuple(losses) == ('loss_cls', 'loss_reg')
    scores = answers['boxes_0'][0]
    torch.testing.assert_close(
        losses['loss_cls'], dkd_loss(outputs['boxes_0'][0], scores, scores.argmax(-1), 1.0, 1.0, 0.25)
    )


def test_config_sentences() -> None:
    build = {'type': 'kd_plugins.RoIDistiller', 'key': 'distillers.roi'}
    with sentence("distillers.roi.mask is 'yes'; valid: 'auto', True, False"):
        MODELS.build({**build, 'mask': 'yes'})
    with sentence("distillers.roi.divergence is 'kld'; nearest: 'kl'"):
        MODELS.build({**build, 'divergence': 'kld'})
    with sentence("distillers.roi.beta is 1.0, which divergence='kl' does not read; leave it out"):
        MODELS.build({**build, 'divergence': 'kl', 'beta': 1.0})
    with sentence('distillers.roi: alpha and beta are 0, so loss_cls would be 0; use for example alpha=1.0'):
        MODELS.build({**build, 'alpha': 0.0, 'beta': 0.0})
    student, teacher, _ = pair('faster')
    distiller = MODELS.build(build)
    with sentence("distillers.roi.head: 'roi_head' names no module of the student"):
        distiller.check_models(nn.ModuleDict({'neck': nn.Identity()}), teacher)
    other = small_detector(model_of('faster', roi_head__type='DoubleHeadRoIHead', roi_head__reg_roi_scale_factor=1.3))
    with sentence("'roi_head' of the teacher is DoubleHeadRoIHead, whose stages are not an extractor followed by"):
        distiller.check_models(student, other[0])
    with sentence('of the student has stages=.0,. and that of the teacher stages=.0, 1, 2.; both must be equal'):
        distiller.check_models(student, pair('cascade')[1])
    with sentence(r"stages is \(1,\), and the head has 1 stages; valid: '\*', or different numbers from 0 to 0"):
        MODELS.build({**build, 'stages': (1,)}).check_models(student, teacher)
    with sentence('roi.mask is True, and StandardRoIHead has no mask head; use mask=False'):
        MODELS.build({**build, 'mask': True}).check_models(student, teacher)
    classes = small_detector(model_of('faster', roi_head__bbox_head__num_classes=5))[0]
    with sentence('num_classes=3 and that of the teacher num_classes=5'):
        distiller.check_models(student, classes)
    one = small_detector(model_of('faster', roi_head__bbox_head__num_classes=1))[0]
    with sentence('roi.alpha is 0, and with one class and background there are no other classes to compare'):
        MODELS.build({**build, 'alpha': 0.0}).check_models(one, one)
    shared = small_detector(model_of('faster', roi_head__bbox_head__reg_class_agnostic=True))[0]
    with sentence('roi.reg is True, and .* predicts a box of each class .* where the teacher predicts one box with'):
        distiller.check_models(student, shared)
    MODELS.build({**build, 'reg': False}).check_models(student, shared)
    sigmoid = dict(type='CrossEntropyLoss', use_sigmoid=True)
    with sentence('no softmax over classes and background'):
        distiller.check_models(small_detector(model_of('faster', roi_head__bbox_head__loss_cls=sigmoid))[0], teacher)


class Objects:
    """Boxes and classes of an image."""

    def __init__(self, bboxes: Tensor, labels: Tensor) -> None:
        self.bboxes, self.labels = bboxes, labels


def _share(images: list[slice]) -> dict[str, Tensor]:
    """Gradients of the share of one rank, or of the whole batch without ranks."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    corners = random(12, 2).abs() * 20
    rois = torch.cat([torch.arange(3.0).repeat_interleave(4)[:, None], corners, corners + 10 + random(12, 2).abs()], 1)
    sides = [(random(12, 4), random(12, 12), random(12, 3, 2, 2)) for _ in range(2)]
    rank = dist.get_rank() if dist.is_initialized() else None
    part = slice(None) if rank is None else images[rank]
    rows = torch.isin(rois[:, 0], torch.arange(3.0)[part])
    mine, theirs = ([x[rows].requires_grad_(not number) for x in side] for number, side in enumerate(sides))
    rois = rois[rows]
    numbers = torch.arange(3)[part]
    samples = []
    for number in numbers.tolist():
        own = rois[rois[:, 0] == number, 1:][: number + 1]
        instances = Objects(own + 0.5, torch.full((len(own),), number))
        samples.append(SimpleNamespace(gt_instances=instances))
    rois[:, 0] -= numbers[0]
    distiller = RoIDistiller()
    distiller.with_mask = True
    distiller.student_head = SimpleNamespace(  # type: ignore[assignment]
        stages=(0,), weights=(1.0,), thresholds=(0.5,), num_classes=3
    )
    outputs = {'rois_0': [rois], 'boxes_0': mine[:2], 'mask_rois_0': [rois], 'masks_0': mine[2:]}
    answers = {'boxes_0': theirs[:2], 'masks_0': theirs[2:]}
    losses = distiller(outputs, answers, Batch(torch.zeros(len(samples), 3, 64, 64), samples))
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), mine)
    return dict(zip(('scores', 'deltas', 'masks'), gradients))


@pytest.mark.distributed
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    images = [slice(0, 1), slice(1, 3)]
    ranks = on_two_ranks(tmp_path, _share, images)
    for name, whole in _share(images).items():
        assert whole.abs().sum() > 0
        torch.testing.assert_close(torch.cat([rank[name] for rank in ranks]) / 2, whole)


@pytest.mark.parametrize(('name', 'teacher'), [('mask', 'ema'), ('mask', 'frozen'), ('cascade', 'ema')])
def test_a_detector_learns_from_it(name: str, teacher: str) -> None:
    runs = two_steps(model_of(name), dict(roi=dict(type='kd_plugins.RoIDistiller')), teacher)
    names = ('loss_cls', 'loss_reg', 'loss_mask') if name == 'mask' else ('loss_cls', 'loss_reg')
    assert set(runs.terms) == {f'distill.roi.{loss}' for loss in names}
    assert all(value > 0 for value in runs.terms.values())
    assert runs.reached('backbone.conv1.weight')


def test_a_detector_learns_without_objects() -> None:
    entry = dict(roi=dict(type='kd_plugins.RoIDistiller'))
    runs = two_steps(model_of('mask'), entry, samples=without_objects)
    assert runs.terms['distill.roi.loss_cls'] > 0 and runs.terms['distill.roi.loss_mask'] == 0


def test_a_cascade_learns_nothing_without_proposals() -> None:
    entry = dict(roi=dict(type='kd_plugins.RoIDistiller'))
    runs = two_steps(model_of('cascade', **NO_PROPOSALS), entry, samples=without_objects)
    assert set(runs.terms.values()) == {0.0}
