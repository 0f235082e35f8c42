from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch, LocalizationDistiller
from kd_plugins.distillers.locations import level_grids
from kd_plugins.losses import softmax_kl
from kd_plugins.profiling.memory import LiveBytes
from kd_plugins.registry import MODELS
from kd_plugins.taps import TapSet
from tests.distillers.common import cascade, check_step, make_batch, sentence
from tests.torch_features import LIVE_BYTES

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
REG_MAX = 7
SIZES = [(8, 8), (4, 4)]


class Head(nn.Module):
    """The constants of a GFL head, where no real one is needed."""

    def __init__(self, reg_max: int = REG_MAX, strides: tuple[int, ...] = (8, 16), offset: float = 0.0) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.prior_generator = SimpleNamespace(strides=[(s, s) for s in strides], offset=offset)


class Detector(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.bbox_head = head


def bound(**kwargs: Any) -> LocalizationDistiller:
    distiller = LocalizationDistiller(**kwargs, key='distillers.ld')
    distiller.check_models(Detector(Head()), Detector(Head()))
    return distiller


def taps(images: int = 2, seed: int = 0, bins: int = REG_MAX + 1) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(seed)

    def levels(channels: int) -> list[Tensor]:
        return [torch.randn(images, channels, *size, generator=generator) for size in SIZES]

    return {'logits': levels(4 * bins)}, {'logits': levels(4 * bins), 'scores': levels(3)}


def by_hand(student: dict, teacher: dict, truths: list[Tensor], image: tuple[int, int], T: float) -> dict[str, Tensor]:
    """The definition, location by location and box by box."""
    sums = {'loss_ld': [0.0, 0.0], 'loss_ld_neg': [0.0, 0.0]}
    for n, truth in enumerate(truths):
        for level, stride in enumerate((8, 16)):
            for row in range(SIZES[level][0]):
                for col in range(SIZES[level][1]):
                    x, y = col * stride, row * stride
                    if x >= image[1] or y >= image[0]:
                        continue
                    s, t = (taps['logits'][level][n, :, row, col].reshape(4, -1) for taps in (student, teacher))
                    left, top, right, bottom = (t.softmax(1) @ torch.arange(REG_MAX + 1.0) * stride).tolist()
                    best, inside = 0.0, False
                    for x1, y1, x2, y2 in truth.tolist():
                        if x1 < x < x2 and y1 < y < y2:
                            width = max(min(x + right, x2) - max(x - left, x1), 0)
                            height = max(min(y + bottom, y2) - max(y - top, y1), 0)
                            area = (left + right) * (top + bottom) + (x2 - x1) * (y2 - y1)
                            best, inside = max(best, width * height / (area - width * height)), True
                    kl = softmax_kl(s, t, T, dim=-1).mean().item()
                    name = 'loss_ld' if inside else 'loss_ld_neg'
                    weight = best if inside else teacher['scores'][level][n, :, row, col].sigmoid().max().item()
                    sums[name][0] += weight * kl
                    sums[name][1] += weight
    return {name: torch.tensor(total / max(weight, 1e-6)) for name, (total, weight) in sums.items()}


@pytest.mark.parametrize('image', [(64, 64), (40, 50)])
def test_value_by_hand(image: tuple[int, int]) -> None:
    student, teacher = taps(3)
    boxes = [[[4.0, 4.0, 30.0, 40.0], [10.0, 10.0, 36.0, 30.0]], [[20.0, 10.0, 46.0, 38.0]], None]
    actual = check_step(
        bound(temperature=2.0, positive_weight=3.0, negative_weight=0.5), student, teacher, make_batch(boxes, image)
    )
    truths = [torch.tensor(box) if box else torch.zeros(0, 4) for box in boxes]
    expected = by_hand(student, teacher, truths, image, 2.0)
    torch.testing.assert_close(actual['loss_ld'], 3.0 * expected['loss_ld'])
    torch.testing.assert_close(actual['loss_ld_neg'], 0.5 * expected['loss_ld_neg'])
    assert actual['loss_ld'] > 0


@pytest.mark.parametrize(
    'batch',
    [
        Batch(torch.zeros(2, 3, 64, 64), None),
        make_batch([None, None]),
        make_batch([[], []]),
        make_batch([[[5.0, 5.0, 5.0, 5.0]], []]),
        make_batch([[[17.0, 17.0, 18.0, 18.0]], []]),
    ],
    ids=['no samples', 'no instances', 'no boxes', 'no area', 'between locations'],
)
def test_without_positives(batch: Batch) -> None:
    student, teacher = taps()
    losses = check_step(bound(), student, teacher, batch)
    assert losses['loss_ld'] == 0 and losses['loss_ld_neg'] > 0


def test_one_object_in_a_batch_of_one() -> None:
    student, teacher = taps(1)
    assert check_step(bound(), student, teacher, make_batch([[[4.0, 4.0, 30.0, 40.0]]]))['loss_ld'] > 0


def test_all_padding() -> None:
    student, teacher = taps()
    box = [[4.0, 4.0, 30.0, 40.0]]
    losses = check_step(bound(), student, teacher, make_batch([box, box], img_shape=(0, 0)))
    assert losses == {'loss_ld': 0, 'loss_ld_neg': 0}


def test_unknown_image_shape_counts_everything() -> None:
    student, teacher = taps()
    box = [[4.0, 4.0, 30.0, 40.0]]
    known = check_step(bound(), student, teacher, make_batch([box, box]))
    assert check_step(bound(), student, teacher, make_batch([box, box], img_shape=None)) == known


@LIVE_BYTES
def test_memory_does_not_grow_with_the_objects() -> None:
    """A matrix of all locations and 500 objects of two images of 800 x 1333 would take 90 MB for each float."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(100, 167), (50, 84)]
    teacher = {
        name: [torch.randn(2, channels, *size, generator=generator) for size in sizes]
        for name, channels in (('logits', 4 * (REG_MAX + 1)), ('scores', 1))
    }
    peaks = []
    for objects in (1, 500):
        corners = torch.rand(objects, 2, generator=generator) * 700
        truth = torch.cat([corners, corners + 20], dim=1)
        batch = make_batch([truth, truth], (800, 1333))
        with LiveBytes([]) as live:
            bound().weights(teacher, batch)
        peaks.append(live.peak)
    assert peaks[1] < peaks[0] + 2e7


def test_padding_has_no_gradient() -> None:
    student, teacher = taps()
    check_step(bound(), student, teacher, make_batch([[[4.0, 4.0, 30.0, 30.0]], []], img_shape=(32, 64)))
    grad = student['logits'][0].grad
    assert grad[:, :, 4:].abs().sum() == 0 and grad[:, :, :4].abs().sum() > 0


def test_gradient_reaches_every_level() -> None:
    student, teacher = taps()
    check_step(bound(), student, teacher, make_batch([[[4.0, 4.0, 30.0, 40.0]], []]))
    assert all(level.grad.abs().sum() > 0 for level in student['logits'])


def test_equal_networks_lose_nothing() -> None:
    _, teacher = taps()
    student = {'logits': [level.clone() for level in teacher['logits']]}
    losses = check_step(bound(), student, teacher, make_batch([[[4.0, 4.0, 30.0, 40.0]], []]))
    assert all(abs(value) < 1e-6 for value in losses.values())
    assert all(level.grad.abs().max() < 1e-6 for level in student['logits'])


def test_duplicated_batch() -> None:
    student, teacher = taps()
    boxes = [[[4.0, 4.0, 30.0, 40.0]], None]
    once = check_step(bound(), student, teacher, make_batch(boxes))
    twice = [
        {name: [torch.cat([x, x]).detach() for x in levels] for name, levels in side.items()}
        for side in (student, teacher)
    ]
    again = check_step(bound(), *twice, make_batch(boxes * 2))
    for name in once:
        torch.testing.assert_close(again[name], once[name])


def test_extremes() -> None:
    student, teacher = taps()
    for side in (student, teacher):
        for levels in side.values():
            levels[:] = [(level.detach().sign() * 1e4) for level in levels]
    check_step(bound(), student, teacher, make_batch([[[4.0, 4.0, 30.0, 40.0]], []]))


def test_boxes_as_box_type() -> None:
    horizontal = pytest.importorskip('mmdet.structures.bbox').HorizontalBoxes
    student, teacher = taps(1)
    box = torch.tensor([[4.0, 4.0, 30.0, 40.0]])
    batch = make_batch([box])
    plain = check_step(bound(), student, teacher, batch)
    batch.data_samples[0].gt_instances.bboxes = horizontal(box)
    assert check_step(bound(), student, teacher, batch) == plain


@pytest.mark.parametrize('offset', [0.0, 0.5])
def test_locations_are_the_centres_of_mmdet_anchors(offset: float) -> None:
    generators = pytest.importorskip('mmdet.models.task_modules.prior_generators')
    anchors = generators.AnchorGenerator(
        strides=[8, 16, 32], ratios=[1.0], octave_base_scale=8, scales_per_octave=1, center_offset=offset
    )
    sizes = [(6, 8), (3, 4), (2, 2)]
    distiller = LocalizationDistiller()
    distiller.grids = level_grids(anchors)
    centers, strides = distiller.locations([torch.zeros(1, 1, *size) for size in sizes])
    boxes = torch.cat(anchors.grid_priors(sizes, device='cpu'))
    torch.testing.assert_close(centers, (boxes[:, :2] + boxes[:, 2:]) / 2)
    assert strides[:, 0].tolist() == [8.0] * 48 + [16.0] * 12 + [32.0] * 4
    if offset == 0:
        assert centers[1].tolist() == [8.0, 0.0]
    points = generators.MlvlPointGenerator([8, 16, 32], offset=offset)
    assert level_grids(points) == level_grids(anchors)


def gfl_detector(**kwargs: Any) -> Detector:
    dense_heads = pytest.importorskip('mmdet.models.dense_heads')
    generator = {'type': 'AnchorGenerator', 'ratios': [1.0], 'octave_base_scale': 8, 'scales_per_octave': 1}
    return Detector(
        dense_heads.GFLHead(
            3,
            4,
            **{
                'stacked_convs': 1,
                'feat_channels': 4,
                'norm_cfg': {'type': 'GN', 'num_groups': 2},
                'reg_max': REG_MAX,
                'anchor_generator': {**generator, 'strides': [8, 16]},
                'loss_cls': {'type': 'QualityFocalLoss', 'use_sigmoid': True},
                'loss_bbox': {'type': 'GIoULoss'},
                **kwargs,
            },
        )
    )


def test_real_gfl_heads_through_taps() -> None:
    student, teacher = gfl_detector(), gfl_detector()
    distiller = MODELS.build({'type': 'kd_plugins.LocalizationDistiller', 'negative_weight': 1.0})
    distiller.check_models(student, teacher)
    features = [torch.randn(2, 4, *size) for size in SIZES]
    actual = {}
    for role, model, paths in (
        ('student', student, distiller.student_taps()),
        ('teacher', teacher, distiller.teacher_taps()),
    ):
        tap_set = TapSet(model, {f'distillers.ld.{alias}': path for alias, path in paths.items()}, role)
        tap_set.start()
        scores, boxes = model.bbox_head(features)
        actual[role] = {alias: tap_set.read(path) for alias, path in paths.items()}
        for tapped, output in zip(actual[role]['logits'], boxes):
            assert torch.equal(tapped, output)
    for tapped, output in zip(actual['teacher']['scores'], scores):
        assert torch.equal(tapped, output)
    distiller.initialize(actual['student'], actual['teacher'])
    losses = distiller(actual['student'], actual['teacher'], make_batch([[[4.0, 4.0, 30.0, 40.0]], []]))
    sum(losses.values()).backward()
    assert student.bbox_head.gfl_reg.weight.grad.abs().sum() > 0
    assert teacher.bbox_head.gfl_reg.weight.grad is None
    assert not list(distiller.parameters()) and not list(distiller.children())


def test_decoded_boxes_are_those_that_gfl_head_predicts() -> None:
    detector = gfl_detector()
    distiller = bound()
    distiller.check_models(detector, gfl_detector())
    _, teacher = taps(1)
    truth = torch.tensor([[4.0, 4.0, 30.0, 40.0]])
    positive, _ = distiller.weights(teacher, make_batch([truth]))
    from mmdet.structures.bbox import bbox_overlaps

    head, row = detector.bbox_head, 0
    anchors = head.prior_generator.grid_priors(SIZES, device='cpu')
    for level, stride in enumerate((8, 16)):
        logits = teacher['logits'][level][0].permute(1, 2, 0).reshape(-1, 4 * (REG_MAX + 1))
        centers = head.anchor_center(anchors[level])
        boxes = head.bbox_coder.decode(centers, head.integral(logits) * stride)
        inside = ((centers > truth[0, :2]) & (centers < truth[0, 2:])).all(1)
        expected = bbox_overlaps(boxes, truth)[:, 0] * inside
        torch.testing.assert_close(positive[0, row : row + len(boxes)], expected)
        row += len(boxes)


def test_config_sentences() -> None:
    with sentence('temperature is 0'):
        LocalizationDistiller(temperature=0)
    with sentence('negative_weight is -1'):
        LocalizationDistiller(negative_weight=-1)
    for options in ({'negative_weight': 0.0}, {'trust': 'teacher'}):
        with sentence('the factor of every loss is 0, so nothing is compared; use for example positive_weight=1.0'):
            LocalizationDistiller(positive_weight=0.0, **options)
    distiller = LocalizationDistiller(key='distillers.ld')
    plain = Detector(nn.Conv2d(1, 1, 1))
    with sentence(r"distillers.ld.head: 'bbox_head' of the student is Conv2d, .*GFLHead and LDHead.*LogitDistiller"):
        distiller.check_models(plain, Detector(Head()))
    with sentence('of the teacher is Conv2d'):
        distiller.check_models(Detector(Head()), plain)
    with sentence("'bbox_head' names no module of the student; nearest: 'box'"):
        distiller.check_models(nn.ModuleDict({'box': Head()}), Detector(Head()))
    with sentence('reg_max=7 and the teacher.s reg_max=16'):
        distiller.check_models(Detector(Head()), Detector(Head(16)))
    with sentence('strides'):
        distiller.check_models(Detector(Head()), Detector(Head(strides=(8, 32))))
    same = Detector(Head())
    with sentence('give a teacher'):
        distiller.check_models(same, same)


def test_rtmdet_head_is_refused() -> None:
    dense_heads = pytest.importorskip('mmdet.models.dense_heads')
    norm = {'type': 'BN'}
    head = dense_heads.RTMDetHead(3, 4, stacked_convs=1, feat_channels=4, norm_cfg=norm, loss_bbox={'type': 'GIoULoss'})
    with sentence('is RTMDetHead, which predicts no distribution'):
        LocalizationDistiller().check_models(Detector(head), Detector(Head()))


@pytest.mark.parametrize(
    ('name', 'match'),
    [
        ('dino_r18_bccd', "is DINOHead, which predicts no .*'kd_plugins.FDRDINO' .*'kd_plugins.FDRDINOHead'"),
        ('deformable-detr_r18_bccd', "is DeformableDETRHead, .*'kd_plugins.FDRDeformableDETR' with"),
        ('dab-detr_r18_bccd', "is DABDETRHead, .*'kd_plugins.FDRDABDETR' with"),
        (
            'dino_r18_bccd_fdr',
            r"is FDRDINOHead, .* loss_ddf of the head, or Stage.*'bbox_head.fdr.distributions.\*'.*accumulate",
        ),
    ],
)
def test_detr_heads_are_refused(name: str, match: str) -> None:
    pytest.importorskip('mmdet')
    from mmengine.config import Config
    from mmengine.registry import MODELS as ROOT_MODELS
    from mmengine.registry import init_default_scope

    import kd_plugins.models.dfine  # noqa: F401

    init_default_scope('mmdet')
    model = ROOT_MODELS.build(Config.fromfile(CONFIGS / 'dfine' / f'{name}.py').model)
    for teacher in (model, Detector(Head())):  # without a teacher, a teacher is not what is missing
        with sentence(match):
            LocalizationDistiller().check_models(model, teacher)


def test_other_detr_heads_are_refused() -> None:
    dense_heads = pytest.importorskip('mmdet.models.dense_heads')
    head = dense_heads.DETRHead(num_classes=3, embed_dims=8)
    with sentence('is DETRHead, which predicts no .* for their three detectors, .*FeatureDistiller'):
        LocalizationDistiller().check_models(Detector(head), Detector(Head()))


def test_cascade_heads_are_refused() -> None:
    model = cascade()
    for head, refusal in (
        ('bbox_head', "'bbox_head' names no module of the student, whose 'roi_head' is CascadeRoIHead"),
        ('roi_head.bbox_head', "'roi_head.bbox_head' of the student is ModuleList"),
        ('roi_head.bbox_head.1', 'is Shared2FCBBoxHead'),
    ):
        with sentence(rf'{refusal}, which predicts no .* proposals .* nearest: RoIDistiller, .* FeatureDistiller'):
            LocalizationDistiller(head).check_models(model, model)
    # Where another module has distributions, its path is what is missing.
    model.rpn_head = Head()
    with sentence("'rpn_hed' names no module of the student; nearest: 'rpn_head'"):
        LocalizationDistiller('rpn_hed').check_models(model, model)


def test_shape_sentences() -> None:
    distiller = bound()
    student, teacher = taps()
    distiller.initialize(student, teacher)
    with sentence('2 levels and the teacher 1'):
        distiller.initialize(student, {**teacher, 'logits': teacher['logits'][:1]})
    with sentence('gives 1 levels and the head has 2 strides'):
        distiller.initialize({'logits': student['logits'][:1]}, {**teacher, 'logits': teacher['logits'][:1]})
    wide = taps(bins=17)
    with sentence(r'of the student has shape \(2, 68, 8, 8\); with reg_max=7 .* = 32'):
        distiller.initialize(*wide)
    with sentence(r'of the teacher has shape \(2, 68, 8, 8\)'):
        distiller.initialize(student, wide[1])
    small = {**teacher, 'logits': [level[..., :2] for level in teacher['logits']]}
    with sentence('same locations'):
        distiller.initialize(student, small)
    with sentence('ld.scores: level 0'):
        distiller.initialize(student, {**teacher, 'scores': [level[..., :2] for level in teacher['scores']]})
