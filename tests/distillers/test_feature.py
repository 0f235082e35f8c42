from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.adapters import PointwiseAdapter
from kd_plugins.distillers import FeatureDistiller
from kd_plugins.losses import channel_wise_kl, feature_cosine, feature_cosine_l1, feature_mse, pearson_distance
from kd_plugins.registry import MODELS
from tests.distillers.common import check_step, make_batch, sentence, taps

KINDS = ['mse', 'cosine', 'cosine_l1', 'channel_wise', 'pearson']
BATCH = make_batch([None, None])


@pytest.mark.parametrize('kind', KINDS)
def test_levels_are_averaged(kind: str) -> None:
    distiller = FeatureDistiller(kind=kind, temperature=2.0 if kind == 'channel_wise' else 1.0)
    student, teacher = taps([(2, 4, 6, 8), (2, 4, 3, 4)])
    distiller.initialize(student, teacher)
    assert not list(distiller.parameters())
    actual = check_step(distiller, student, teacher, BATCH)['loss_feat']
    loss = {
        'mse': feature_mse,
        'cosine': feature_cosine,
        'cosine_l1': feature_cosine_l1,
        'channel_wise': lambda s, t: channel_wise_kl(s, t, 2.0),
        'pearson': lambda s, t: pearson_distance([s], [t]),
    }[kind]
    values = [loss(s.detach(), t).mean() for s, t in zip(student['student_tap'], teacher['teacher_tap'])]
    torch.testing.assert_close(actual, sum(values) / 2)
    assert all(level.grad.abs().sum() > 0 for level in student['student_tap'])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('spatial', [(), (6,), (4, 6), (2, 4, 6)], ids=str)
def test_adapters_where_channels_differ(kind: str, spatial: tuple[int, ...]) -> None:
    if kind == 'channel_wise' and not spatial:
        pytest.skip('compares positions')
    distiller = FeatureDistiller(kind=kind)
    student, teacher = taps([(2, 4, *spatial), (2, 8, *spatial)], [(2, 8, *spatial), (2, 8, *spatial)])
    distiller.initialize(student, teacher)
    assert [type(adapter) for adapter in distiller.adapters] == [PointwiseAdapter, nn.Identity]
    check_step(distiller, student, teacher, BATCH)
    assert all(param.grad is not None for param in distiller.parameters())
    assert (
        all(adapter.training for adapter in distiller.adapters) and 'PointwiseAdapter' in distiller.spec()['adapters']
    )


def test_tokens() -> None:
    distiller = FeatureDistiller(kind='cosine', channel_dim=-1)
    student, teacher = taps([(2, 9, 4)], [(2, 9, 8)])
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, BATCH)['loss_feat']
    adapted = distiller.adapters[0](student['student_tap'][0])
    torch.testing.assert_close(actual, 1 - F.cosine_similarity(adapted, teacher['teacher_tap'][0], dim=-1).mean())


@pytest.mark.parametrize('resize', ['bilinear', 'nearest', 'area'])
@pytest.mark.parametrize('spatial', [(8,), (8, 6), (4, 8, 6)], ids=str)
def test_resize(resize: str, spatial: tuple[int, ...]) -> None:
    distiller = FeatureDistiller(resize=resize)
    half = tuple(size // 2 for size in spatial)
    student, teacher = taps([(2, 4, *spatial), (2, 4, *half)], [(2, 8, *half), (2, 4, *half)])
    distiller.initialize(student, teacher)
    assert check_step(distiller, student, teacher, BATCH)['loss_feat'] > 0


def test_resize_of_images() -> None:
    distiller = FeatureDistiller(resize='bilinear')
    student, teacher = taps([(2, 4, 8, 8)], [(2, 4, 5, 7)])
    distiller.initialize(student, teacher)
    actual = check_step(distiller, student, teacher, BATCH)['loss_feat']
    resized = F.interpolate(student['student_tap'][0], (5, 7), mode='bilinear', align_corners=False)
    torch.testing.assert_close(actual, F.mse_loss(resized, teacher['teacher_tap'][0]).detach())


@pytest.mark.parametrize('kind', KINDS)
def test_equal_networks_lose_nothing(kind: str) -> None:
    student, _ = taps([(2, 4, 6, 6)])
    teacher = {'teacher_tap': [student['student_tap'][0].clone()]}
    distiller = FeatureDistiller(kind=kind)
    distiller.initialize(student, teacher)
    assert check_step(distiller, student, teacher, BATCH)['loss_feat'].abs() < 1e-6


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('shape', [(1, 4, 1, 1), (0, 4, 3, 3), (2, 4, 0, 3)], ids=str)
def test_small_batches(kind: str, shape: tuple[int, ...]) -> None:
    distiller = FeatureDistiller(kind=kind)
    distiller.initialize(*taps([(2, 4, 3, 3)]))
    student, teacher = taps([shape])
    check_step(distiller, student, teacher, make_batch([None] * shape[0]))


def test_explicit_adapter() -> None:
    distiller = FeatureDistiller(adapter={'type': 'kd_plugins.PointwiseAdapter'})
    student, teacher = taps([(2, 4, 3, 3), (2, 8, 3, 3)], [(2, 8, 3, 3)] * 2)
    distiller.initialize(student, teacher)
    assert [adapter.projection.in_features for adapter in distiller.adapters] == [4, 8]
    check_step(distiller, student, teacher, BATCH)


@pytest.mark.parametrize('channels', [8, 4], ids=['1x1', 'no_adapter'])
def test_sum_is_the_loss_of_dwpose(channels: int) -> None:
    """With MMPose's FeaLoss, its 1x1 convolution included."""
    losses = pytest.importorskip('mmpose.models.losses')
    reference = losses.FeaLoss('loss_fea', True, student_channels=4, teacher_channels=channels, alpha_fea=7e-5)
    student, teacher = taps([(3, 4, 5, 6)], [(3, channels, 5, 6)])
    distiller = FeatureDistiller(reduction='sum')
    distiller.initialize(student, teacher)
    if reference.align is not None:
        projection = distiller.adapters[0].projection
        with torch.no_grad():
            projection.weight.copy_(reference.align.weight.flatten(1))
            projection.bias.copy_(reference.align.bias)
    actual = check_step(distiller, student, teacher, make_batch([None] * 3))['loss_feat']
    feature = student['student_tap'][0].detach().requires_grad_()
    expected = reference(feature, teacher['teacher_tap'][0])
    expected.backward()
    torch.testing.assert_close(7e-5 * actual, expected.detach())
    torch.testing.assert_close(7e-5 * student['student_tap'][0].grad, feature.grad)


def test_sum_does_not_depend_on_the_batch() -> None:
    student, teacher = taps([(2, 4, 5, 6), (2, 4, 3, 3)])
    distiller = FeatureDistiller(reduction='sum')
    distiller.initialize(student, teacher)
    once = check_step(distiller, student, teacher, BATCH)['loss_feat']
    student, teacher = (
        {name: [x.detach().repeat(4, 1, 1, 1) for x in maps] for name, maps in tapped.items()}
        for tapped in (student, teacher)
    )
    torch.testing.assert_close(check_step(distiller, student, teacher, make_batch([None] * 8))['loss_feat'], once)


def test_deeper_layer_teaches() -> None:
    distiller = FeatureDistiller('backbone.layer1', 'backbone.layer2', source='student')
    assert distiller.student_taps() == {'student_tap': 'backbone.layer1'}
    assert distiller.teacher_taps() == {'teacher_tap': 'backbone.layer2'}
    model = nn.Identity()
    distiller.check_models(model, model)


def test_config_sentences() -> None:
    with sentence("kind is 'cosin'; nearest: 'cosine'"):
        FeatureDistiller(kind='cosin')
    with sentence("resize is 'linear'; nearest: 'bilinear'"):
        FeatureDistiller(resize='linear')
    with sentence("adapter is 'pointwise'; valid: 'auto'"):
        FeatureDistiller(adapter='pointwise')
    with sentence('temperature is nan'):
        FeatureDistiller(temperature=float('nan'))
    with sentence('channel_dim is 0'):
        FeatureDistiller(channel_dim=0)
    with sentence("reduction is 'sums'; nearest: 'sum'"):
        FeatureDistiller(reduction='sums')
    with sentence("temperature is 2.0 with kind='mse', which has none; use temperature=1.0 or kind='channel_wise'"):
        FeatureDistiller(temperature=2.0)
    with sentence("normalize is 'layer'; valid: 'batch'"):
        FeatureDistiller(normalize='layer')
    with sentence("normalize is 'batch' with kind='pearson', which standardizes .*use normalize=None"):
        FeatureDistiller(kind='pearson', normalize='batch')
    with sentence("stats is 'images'; nearest: 'image'"):
        FeatureDistiller(kind='pearson', stats='images')
    with sentence("stats is 'image' with kind='mse', which standardizes nothing; use stats=None or kind='pearson'"):
        FeatureDistiller(stats='image')
    with sentence("reduction is 'sum' with kind='cosine', which is a mean by definition; use reduction='mean'"):
        FeatureDistiller(kind='cosine', reduction='sum')
    model = nn.Identity()
    with sentence("student_tap: 'neck.fpn_convs.*' would teach itself; .*EMATeacher.* or set teacher_tap to the path"):
        FeatureDistiller().check_models(model, model)


@pytest.mark.parametrize(
    ('kwargs', 'student_shapes', 'teacher_shapes', 'match'),
    [
        ({}, [(2, 4, 3, 3)], [(2, 4, 3, 3)] * 2, '1 features and the teacher 2'),
        ({'kind': 'channel_wise'}, [(2, 4)], [(2, 4)], "compares positions, .*use kind='mse'"),
        ({'kind': 'channel_wise'}, [(2, 4, 1, 1)], [(2, 4, 1, 1)], "4, 1, 1. has one; use kind='mse' or 'cosine'"),
        ({'kind': 'pearson', 'stats': 'image'}, [(2, 4)], [(2, 4)], "compares positions, .*use stats='batch'"),
        (
            {'adapter': {'type': 'kd_plugins.MaskedGenerator'}, 'channel_dim': -1},
            [(2, 9, 4)],
            [(2, 9, 8)],
            r'fpn.adapter is .*, which cannot take a feature of shape \(2, 9, 4\): it needs \(N, C, H, W\); nearest',
        ),
        (
            {'adapter': {'type': 'kd_plugins.MaskedGenerator', 'mask_ratio': 1.0}},
            [(2, 4, 3, 3)],
            [(2, 8, 3, 3)],
            'fpn.adapter.mask_ratio is 1.0, which leaves nothing; use less than 1, such as 0.65',
        ),
        (
            {'kind': 'cosine'},
            [(2, 4, 3, 3), (2, 4, 3, 3)],
            [(2, 4, 3, 3), (2, 1, 3, 3)],
            r"fpn.kind is 'cosine', which compares directions .*2, 1, 3, 3. has one channel, .*; use kind='mse'",
        ),
        ({'kind': 'cosine_l1', 'channel_dim': -1}, [(2, 9, 1)], [(2, 9, 1)], "kind is 'cosine_l1', which compares"),
        ({}, [(2, 4)], [(2, 4, 3, 3)], 'same number of dimensions'),
        ({}, [(2, 4, 6, 6)], [(2, 4, 3, 3)], "fpn.resize is None, .*set resize='bilinear'"),
        (
            {},
            [(8, 4)],
            [(9, 4)],
            'fpn.student_tap: at level 0 the student gives 8 samples and the teacher 9, .*RoIDistiller',
        ),
        (
            {'adapter': None},
            [(2, 64, 3, 3)],
            [(2, 256, 3, 3)],
            "64 channels where the teacher has 256; use adapter='auto'",
        ),
        ({'resize': 'bilinear', 'channel_dim': -1}, [(2, 9, 4)], [(2, 6, 4)], 'resize is .*same length'),
        ({'channel_dim': 4}, [(2, 4, 3, 3)], [(2, 4, 3, 3)], 'channel_dim is 4 .*valid: 1 to 3'),
        (
            {'adapter': {'type': 'kd_plugins.PointwiseAdapter', 'channel_dim': -1}},
            [(2, 4, 3, 3)],
            [(2, 8, 3, 3)],
            'fpn.adapter is .*channel_dim.: -1}, which cannot take a feature of shape',
        ),
        (
            {'adapter': {'type': 'kd_plugins.PointwiseAdapter', 'in_channels': 5}},
            [(2, 4, 3, 3)],
            [(2, 8, 3, 3)],
            'fpn.adapter.in_channels is 5 and the student has 4 channels',
        ),
        (
            {'adapter': {'type': 'kd_plugins.PointwiseAdapter', 'out_channels': 5}},
            [(2, 4, 3, 3)],
            [(2, 8, 3, 3)],
            'fpn.adapter.out_channels is 5 and the teacher has 8 channels',
        ),
        (
            {'adapter': {'type': 'NoSuchAdapter'}},
            [(2, 4, 3, 3)],
            [(2, 8, 3, 3)],
            "fpn.adapter.type is 'NoSuchAdapter', which is not a Module",
        ),
        (
            {'adapter': {'type': 'kd_plugins.PointwiseAdapter', 'kernel': 3}},
            [(2, 4, 3, 3)],
            [(2, 8, 3, 3)],
            'fpn.adapter: .*kernel',
        ),
    ],
)
def test_shape_sentences(kwargs: dict, student_shapes: list, teacher_shapes: list, match: str) -> None:
    distiller = MODELS.build({'type': 'kd_plugins.FeatureDistiller', 'key': 'distillers.fpn', **kwargs})
    with sentence(match):
        distiller.initialize(*taps(student_shapes, teacher_shapes))


def test_adapter_that_gives_other_channels() -> None:
    @MODELS.register_module(name='StubbornAdapter', force=True)
    class StubbornAdapter(PointwiseAdapter):
        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__(in_channels, out_channels + 1)

    try:
        with sentence('it must give the channels of the teacher'):
            FeatureDistiller(adapter={'type': 'StubbornAdapter'}).initialize(*taps([(2, 4, 3, 3)], [(2, 8, 3, 3)]))
    finally:
        MODELS.module_dict.pop('StubbornAdapter')
